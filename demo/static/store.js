/**
 * What the page knows: threads, runs and people, derived from the event log and from nothing else.
 *
 * Replaying the same events in the same order always gives the same store, so after a reset a new one is simply built.
 * Payloads are other people's JSON: every value is turned to text (or a known word) before it is kept.
 */

export const STATES = { open: "Open", in_progress: "In progress", blocked: "Blocked", answered: "Answered", closed: "Closed" };
export const PRIORITIES = { low: "Low", normal: "Normal", high: "High", urgent: "Urgent" };
const SIGNALS = { pause: ["paused", "paused"], resume: ["running", "resumed"], stop: ["stopped", "stopped"] };

export class Store {
  /** Threads by id; the order of the map is the order in which they were first heard of. */
  threads = new Map();
  /** Runs by id: `{id, ticket, state}`. */
  runs = new Map();
  /** Tickets, each with its number of threads. */
  tickets = new Map();
  /** Names that a thread can be assigned to. */
  agents = new Set();
  /** The sequence of the newest event. */
  newest = 0;

  /** Take one event in; returns the threads that it changed. */
  apply({ sequence, envelope, payload }) {
    const at = Date.parse(envelope.occurred_at);
    const who = { name: envelope.actor_name ?? envelope.agent_name ?? envelope.actor_type, type: envelope.actor_type };
    const heard = { id: envelope.event_id, sequence, at, who };
    this.newest = sequence;
    if (who.type === "agent") this.agents.add(who.name);
    const run = envelope.run_id ? this.#run(envelope) : undefined;
    if (envelope.event_type === "forum.control.signal" && run) return this.#signal(run, payload, heard);
    if (!envelope.thread_id) return [];
    const thread = this.#thread(envelope, heard);
    const change = CHANGES[envelope.event_type] ?? other;
    change(thread, payload, heard, envelope);
    thread.lastAt = Math.max(thread.lastAt, at);
    thread.order = sequence;
    thread.version += 1;
    return [thread];
  }

  #run({ run_id: id, ticket }) {
    if (!this.runs.has(id)) this.runs.set(id, { id, ticket, state: "running", threads: [] });
    return this.runs.get(id);
  }

  #thread({ thread_id: id, ticket, run_id: runId }, { at, who }) {
    const known = this.threads.get(id);
    if (known) return known;
    const thread = {
      id, ticket, run: runId ?? null, title: "", priority: "normal", state: "open", assignee: null,
      opener: who, openedAt: at, lastAt: at, order: 0, version: 0, replies: 0, preview: null, items: [],
    };
    this.threads.set(id, thread);
    this.tickets.set(ticket, (this.tickets.get(ticket) ?? 0) + 1);
    if (runId) this.runs.get(runId).threads.push(thread);
    return thread;
  }

  #signal(run, payload, heard) {
    const signal = text(payload.signal);
    const [state, done] = Object.hasOwn(SIGNALS, signal) ? SIGNALS[signal] : [run.state, `sent “${signal}” to`];
    run.state = state;
    const reason = text(payload.reason ?? payload.note);
    const concerned = run.threads.filter((thread) => thread.state !== "closed");
    for (const thread of concerned) {
      note(thread, heard, "signal", `${done} ${run.id}${reason ? `: ${reason}` : ""}`);
      thread.version += 1;
    }
    return concerned;
  }
}

const CHANGES = {
  "forum.thread.opened"(thread, payload, heard) {
    thread.title = text(payload.title ?? payload.subject);
    thread.priority = word(payload.priority, PRIORITIES, "normal");
    thread.state = word(payload.state, STATES, "open");
    post(thread, heard, text(payload.body), "question");
  },
  "forum.post.added"(thread, payload, heard) {
    thread.replies += 1;
    post(thread, heard, text(payload.body ?? payload.text), "post");
  },
  "forum.assigned"(thread, payload, heard) {
    thread.assignee = text(payload.assignee) || null;
    note(thread, heard, "person", describeAssignment(thread.assignee, heard.who.name));
  },
  "forum.state.changed"(thread, payload, heard) {
    thread.state = word(payload.state, STATES, thread.state);
    note(thread, heard, "state", `marked this ${STATES[thread.state].toLowerCase()}`);
  },
  "forum.priority.changed"(thread, payload, heard) {
    thread.priority = word(payload.priority, PRIORITIES, thread.priority);
    note(thread, heard, "flag", `set the priority to ${thread.priority}`);
  },
  "forum.thread.closed"(thread, payload, heard) {
    thread.state = "closed";
    const resolution = text(payload.resolution ?? payload.reason);
    note(thread, heard, "check", resolution ? `closed this: ${resolution}` : "closed this");
  },
};

function other(thread, payload, heard, { event_type: type }) {
  note(thread, heard, "note", type);
}

function describeAssignment(assignee, by) {
  if (!assignee) return "took the assignee off";
  return assignee === by ? "took this on" : `assigned this to ${assignee}`;
}

function post(thread, heard, body, kind) {
  thread.preview = { who: heard.who, body };
  thread.items.push({ ...heard, kind, body });
}

function note(thread, heard, icon, said) {
  thread.items.push({ ...heard, kind: "note", icon, body: said });
}

function word(value, known, otherwise) {
  return typeof value === "string" && Object.hasOwn(known, value) ? value : otherwise;
}

function text(value) {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}
