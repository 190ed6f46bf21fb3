/** One thread: its properties, which anyone may change, what was said, and the reply box. */

import { Composer } from "./composer.js";
import { priorityMark, setOptions, stateMark } from "./list.js";
import { me } from "./local.js";
import { PRIORITIES, STATES } from "./store.js";
import { avatar, el, icon, prose, timeOf } from "./text.js";

const RUN_STATES = { running: "Running", paused: "Paused", stopped: "Stopped" };

export class ThreadView {
  #root = document.querySelector("#thread");
  #parts = null; // the elements of the thread on show, or null
  #thread = null;
  #drawn = 0; // items
  #version = -1;
  #following = true; // whether its end is in view, and should stay there
  #missing; // what is said in place of a thread, to draw it once
  #app;

  /** @param {object} app what the view may do: `{act, toast, back, ask, mark, filter, redraw}` */
  constructor(app) {
    this.#app = app;
  }

  /** Draw what is new of the thread that the address names; `waiting` says why it, or any, may not be there yet. */
  draw(store, marks, id, waiting) {
    const thread = id === null ? null : store.threads.get(id);
    if (!thread) return this.#drawMissing(id, waiting, !store.threads.size && !waiting);
    this.#missing = undefined;
    if (this.#thread !== thread) this.#open(thread, marks);
    this.#drawDetails(store, thread);
    this.#parts.composer.draw(thread.state === "closed");
    if (this.#version === thread.version) return;
    this.#version = thread.version;
    this.#drawHead(thread);
    this.#drawItems(thread, marks);
  }

  #drawMissing(id, waiting, empty) {
    const key = JSON.stringify([id, waiting, empty]);
    if (this.#missing === key) return;
    this.#missing = key;
    this.#thread = this.#parts = null;
    if (id === null) return this.#root.replaceChildren(this.#welcome(empty));
    const head = el("header.thread-head", {}, this.#backButton());
    if (waiting) return this.#root.replaceChildren(head, hint(waiting, ""));
    const gone = hint("This thread isn't here", "The server's log doesn't hold it: perhaps the server was restarted without its journal.");
    const draft = Composer.draftOf(id);
    if (draft) {
      const again = el("button.primary", { type: "button" }, "Ask it as a new question");
      again.addEventListener("click", () => this.#app.ask({ body: draft }));
      gone.append(el("p", {}, "Your unsent reply is kept:"), el("pre", {}, draft), again);
    }
    this.#root.replaceChildren(head, gone);
  }

  #welcome(empty) {
    const ask = el("button", { type: "button" }, icon("plus"), "Ask a question");
    ask.addEventListener("click", () => this.#app.ask({}));
    const can = empty ? "Ask something" : "Choose a thread on the left, or ask something";
    const shown = hint("People and agents, in one forum", `${can}: everyone who is here sees it at once.`);
    const legend = ["agent", "human", "operator", "system"].map((type) =>
      el("li", {}, avatar({ name: type, type }), type));
    shown.append(ask, el("ul.legend", { "aria-label": "How authors are marked" }, legend));
    return shown;
  }

  #backButton() {
    const back = el("button.quiet.square.back", { type: "button", "aria-label": "Back to the list", title: "Back (Esc)" }, icon("back"));
    back.addEventListener("click", () => this.#app.back());
    return back;
  }

  #open(thread, marks) {
    const { act } = this.#app;
    const title = el("h1", { tabindex: "-1" });
    title.addEventListener("click", () => title.toggleAttribute("data-whole")); // a phone shows the beginning of a long one
    const meta = el("p.thread-meta");
    const timeline = el("ol.timeline");
    const below = el("button.below", { type: "button", hidden: true }, icon("down"), el("span"));
    const details = el("aside.details", { "aria-label": "Properties", id: "details" });
    const more = el("button.quiet.more", { type: "button", title: "Properties", "aria-expanded": "false", "aria-controls": "details" },
      icon("sliders"), el("span", {}, "Properties"));
    more.addEventListener("click", () => {
      const open = details.toggleAttribute("data-open");
      more.setAttribute("aria-expanded", String(open));
      if (open) scroll.scrollTo({ top: 0 });
      this.#scrolled();
    });
    const talk = el("div.talk", {}, timeline);
    const scroll = el("div.thread-scroll", {}, details, talk);
    const composer = new Composer(thread.id, (body, request) => act("reply", { thread_id: thread.id, body, request_id: request }),
      () => this.#change("state", { state: "open" }));
    this.#thread = thread;
    this.#drawn = 0;
    this.#version = -1;
    this.#parts = { title, meta, timeline, below, details, scroll, composer, controls: null };
    this.#root.replaceChildren(
      el("header.thread-head", {}, this.#backButton(), el("div.thread-title", {}, title, meta), this.#app.mark(), more),
      scroll, el("div.dock", {}, below, composer.element));
    below.addEventListener("click", () => this.#toEnd("smooth"));
    scroll.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    // A taller reply box or a banner must not cover the end of what is being read.
    new ResizeObserver(() => this.#thread === thread && this.#following && this.#toEnd("instant")).observe(scroll);
    this.#firstNew = thread.items.find((item) => marks.isNew(thread, item))?.id;
  }

  #firstNew;

  /** Put the focus on the thread, when a person has opened it. */
  focus() {
    this.#parts?.title.focus({ preventScroll: true });
  }

  #drawHead(thread) {
    const { title, meta } = this.#parts;
    title.textContent = thread.title || `Thread ${thread.id}`;
    meta.replaceChildren(
      stateMark(thread.state), thread.priority === "normal" ? "" : priorityMark(thread.priority),
      el("span.said", {}, "asked by ", el("b", {}, thread.opener.name), ", ", timeOf(thread.openedAt)));
  }

  #drawItems(thread, marks) {
    const { timeline, below } = this.#parts;
    const first = this.#drawn === 0;
    const last = thread.items.at(-1);
    const follow = first || this.#following || (me.sent(last.id) && (last.kind !== "note" || !this.#changing));
    const added = thread.items.slice(this.#drawn);
    let divider;
    for (const item of added) {
      if (first && item.id === this.#firstNew && timeline.childElementCount) {
        divider = el("li.divider", {}, el("span", {}, "New"));
        timeline.append(divider);
      }
      timeline.append(itemElement(item, !first));
    }
    this.#drawn = thread.items.length;
    if (divider) {
      divider.scrollIntoView({ block: "center" });
      this.#scrolled();
    } else if (follow) this.#toEnd(first ? "instant" : "smooth");
    else if (added.length && !this.#atEnd) {
      below.hidden = false;
      below.lastChild.textContent = "New replies below";
    }
  }

  get #atEnd() {
    const { scroll } = this.#parts;
    return scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 90;
  }

  // Where the properties are unfolded above what was said, keeping its end in view would take them from under a finger.
  get #changing() {
    return this.#parts.details.hasAttribute("data-open");
  }

  #scrolled() {
    this.#following = this.#atEnd && !this.#changing;
    if (this.#atEnd) this.#parts.below.hidden = true;
  }

  #toEnd(behavior) {
    const { scroll, below } = this.#parts;
    this.#following = true;
    scroll.scrollTo({ top: scroll.scrollHeight, behavior });
    below.hidden = true;
  }

  #drawDetails(store, thread) {
    this.#parts.controls ??= this.#makeControls(thread);
    const { state, priority, assignee, take, finish, run } = this.#parts.controls;
    if (state.value !== thread.state) state.value = thread.state;
    if (priority.value !== thread.priority) priority.value = thread.priority;
    const people = [...new Set([me.name, ...[...store.agents].sort()])];
    setOptions(assignee, "Nobody", people, thread.assignee ?? "");
    take.hidden = thread.assignee === me.name;
    const closed = thread.state === "closed";
    finish.lastChild.textContent = closed ? "Reopen" : "Close thread";
    finish.querySelector("use").setAttribute("href", closed ? "#i-again" : "#i-check");
    const known = thread.run && store.runs.get(thread.run);
    if (!known || run.dataset.state === known.state) return;
    run.dataset.state = known.state;
    run.querySelector(".run-state").textContent = RUN_STATES[known.state];
    for (const button of run.querySelectorAll("button[data-signal]")) {
      button.hidden = { pause: "running", resume: "paused stopped", stop: "running paused" }[button.dataset.signal].split(" ").indexOf(known.state) < 0;
    }
  }

  #makeControls(thread) {
    const state = choice("state", STATES, (value) => (value === "closed" ? this.#change("close", {}) : this.#change("state", { state: value })));
    const priority = choice("priority", PRIORITIES, (value) => this.#change("priority", { priority: value }));
    const assignee = choice("assignee", {}, (value) => this.#change("assign", { assignee: value }));
    const take = button("Assign to me", "person", () => this.#change("assign", { assignee: me.name }));
    const finish = button("Close thread", "check", () =>
      this.#thread.state === "closed" ? this.#change("state", { state: "open" }) : this.#change("close", {}));
    const run = el("section.run");
    if (thread.run) {
      const signal = (name, said, sign) => {
        const made = button(said, sign, () => this.#change("signal", { run_id: thread.run, ticket: thread.ticket, signal: name }, null));
        made.dataset.signal = name;
        return made;
      };
      run.append(
        el("p.run-line", {}, this.#filterButton("run", thread.run), el("span.run-state")),
        el("div.run-buttons", {}, signal("pause", "Pause", "pause"), signal("resume", "Resume", "play"), signal("stop", "Stop", "stop")));
    }
    this.#parts.details.append(
      labelled("State", state), labelled("Priority", priority), labelled("Assignee", assignee),
      el("div.detail-actions", {}, take, finish),
      el("p.fact", {}, "Ticket", this.#filterButton("ticket", thread.ticket)), run);
    return { state, priority, assignee, take, finish, run };
  }

  #filterButton(name, value) {
    const made = el("button.tag", { type: "button", title: `Show only ${value}` }, value);
    made.addEventListener("click", () => this.#app.filter(name, value));
    return made;
  }

  // What was changed comes back by the stream; where it was refused, the controls are set back to what is so.
  async #change(action, body, threadId = this.#thread.id) {
    try {
      await this.#app.act(action, { ...body, ...(threadId && { thread_id: threadId }), request_id: me.newRequest() });
    } catch (error) {
      this.#app.toast(error.message, "bad");
      this.#app.redraw();
    }
  }
}

function hint(title, more) {
  return el("div.empty", {}, el("h2", {}, title), el("p", {}, more));
}

function button(said, sign, click) {
  const made = el("button.small", { type: "button" }, icon(sign), el("span", {}, said));
  made.addEventListener("click", click);
  return made;
}

function choice(name, options, change) {
  const select = el("select", { name }, Object.entries(options).map(([value, said]) => el("option", { value }, said)));
  select.addEventListener("change", () => change(select.value));
  return select;
}

function labelled(said, control) {
  return el("label.property", {}, el("span", {}, said), control);
}

function itemElement(item, fresh) {
  const { who } = item;
  if (item.kind === "note") {
    return el("li.note", { "data-icon": item.icon, "data-fresh": fresh }, icon(item.icon),
      el("span", {}, el("b", {}, who.name), badge(who), " ", el("span.note-text", {}, item.body)), timeOf(item.at));
  }
  return el(`li.post.${item.kind}`, { "data-type": who.type, "data-fresh": fresh }, avatar(who),
    el("div.post-body", {}, el("p.post-head", {}, el("b", {}, who.name), badge(who), timeOf(item.at)),
      item.body.trim() ? prose(item.body) : null));
}

function badge({ type }) {
  return el("span.badge", { "data-type": type }, type);
}
