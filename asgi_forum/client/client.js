/**
 * The browser's client of asgi_forum: one ES module, no dependencies, served by every forum at `{mount}/client.js`.
 *
 *     import { connect, publish, read } from "/forum/client.js";
 *
 *     const stream = connect({ ticket: "T-1", cursor: "earliest" });
 *     stream.addEventListener("event", ({ detail: event }) => show(event.envelope, event.payload));
 *     stream.addEventListener("reset", ({ detail }) => startOver(detail.reason));
 *     stream.addEventListener("state", ({ detail }) => (badge.textContent = detail.state));
 *
 * A stream comes back by itself, for as long as the page lives, from the last cursor of any frame: after a lost network,
 * a restarted server, a laptop that slept, a proxy that dropped the connection in silence. Events come in order and once
 * each; where the server can't keep that (its log was trimmed or replaced) a `reset` says so before the next event.
 * It ends for good only by `close()` and by a refusal that repeating won't mend (a wrong parameter, no permission).
 *
 * Every function takes the forum's address first; left out, it is the one that this module was loaded from.
 *
 * @typedef {"connecting"|"catching-up"|"live"|"degraded"|"reconnecting"|"closed"} State
 * @typedef {{sequence: number, cursor: string, envelope: Record<string, any>, payload: Record<string, any>}} ForumEvent
 * @typedef {{event_id: string, sequence: number, cursor: string, duplicate: boolean}} Receipt
 * @typedef {{events: ForumEvent[], next_cursor: string, has_more: boolean}} Page
 *
 * @typedef {object} Selection what to read, and from where; all optional
 * @property {string|string[]} [ticket] keep only these tickets
 * @property {string|string[]} [runId] keep only these runs
 * @property {string|string[]} [threadId] keep only these threads
 * @property {string|string[]} [eventType] keep these event types and those below them (`forum.thread`)
 * @property {string|number} [cursor] a cursor, "earliest" (the default of pages), "latest" (of streams), or a sequence
 * @property {number} [tail] start with the last N events that match; not together with `cursor`
 * @property {number} [limit] most events in one frame or page
 *
 * @typedef {object} RequestOptions
 * @property {Record<string, string>} [headers] request headers (a browser can set none on a WebSocket)
 * @property {RequestCredentials} [credentials] as for fetch: "include" sends cookies to a forum on another origin
 *
 * @typedef {object} StreamOptions
 * @property {"sse"|"ws"} [transport] "sse" (the default), or "ws": over HTTP/1.1 a browser opens at most six
 *     connections to one host, all tabs together, and every SSE stream holds one; WebSockets are not counted there
 * @property {number} [heartbeat] the forum's heartbeat interval in seconds (25 by default); a connection that is silent
 *     for two and a half of these is given up and made anew
 * @property {number} [maxDelay] the longest wait between two tries, in seconds (30 by default)
 */

const HERE = new URL(".", import.meta.url);
const CONNECT_SECONDS = 20; // a connection that isn't there by then is tried anew
const QUERY = {
  ticket: "ticket", runId: "run_id", threadId: "thread_id", eventType: "event_type",
  cursor: "cursor", tail: "tail", limit: "limit", wait: "wait",
};

/**
 * A refusal of the forum, or a failure on the way to it. `code` is the forum's, or "unreachable" or "silent"; where an
 * answer came, `status` is its HTTP status, `details` says more of an invalid event (`{loc, msg}` each), and `retryAfter`
 * are the seconds that the server asked to wait. Of a failed publish, `outcome` is "not_published" or "unknown".
 */
export class ForumError extends Error {
  constructor(code, message, more = {}) {
    super(message, { cause: more.cause });
    this.name = "ForumError";
    this.code = code;
    this.status = more.status;
    this.details = more.details;
    this.retryAfter = more.retryAfter;
    this.outcome = more.outcome;
    /** Of a failed publish: publishing the same events again with these ids is safe. */
    this.eventIds = more.eventIds;
  }

  /** Whether the same request may succeed later. */
  get temporary() {
    return this.status === undefined || this.status >= 500 || [408, 425, 429].includes(this.status);
  }
}

/** Events are missing after the position asked for (`reason`): reload your state, and go on from `nextCursor`. */
export class ForumReset extends ForumError {
  constructor(reason, nextCursor) {
    super("cursor_expired", `events are missing here (${reason}): reload your state and go on`, { status: 410 });
    this.name = "ForumReset";
    this.reason = reason;
    this.nextCursor = nextCursor;
  }
}

/**
 * Follow a forum: returns a {@link ForumStream} at once, which connects by itself.
 * @param {string|URL|(Selection & RequestOptions & StreamOptions)} [url] the forum's address, such as "/forum"
 * @param {Selection & RequestOptions & StreamOptions} [options]
 */
export function connect(url, options) {
  return isAddress(url) ? new ForumStream(mountOf(url), options ?? {}) : new ForumStream(HERE, url ?? options ?? {});
}

/**
 * Publish one event or a list, all or nothing; needs a forum that allows publishing over HTTP.
 *
 * Each event gets its `event_id` before the first try, so trying again (up to `retries` times, where the server can't
 * be reached, is busy or is restarting) never publishes twice. Throws a ForumError with `eventIds`.
 * @param {string|URL|object|object[]} url the forum's address, or the events
 * @param {object|object[]} [events] `{event_type, ticket, payload, …}` each
 * @param {RequestOptions & {retries?: number, signal?: AbortSignal}} [options]
 * @returns {Promise<Receipt[]>} one receipt per event, in order
 */
export async function publish(url, events, options) {
  if (!isAddress(url)) return publish(HERE, url, events);
  const { retries = 5, headers, credentials, signal } = options ?? {};
  const list = [events].flat().map((event) => ({ ...event, event_id: event.event_id ?? makeId() }));
  const request = {
    method: "POST", body: JSON.stringify(list), credentials, signal, headers: { "Content-Type": "application/json", ...headers },
  };
  for (let attempt = 0; ; attempt += 1) {
    try {
      return (await ask(new URL("events", mountOf(url)), request)).events;
    } catch (error) {
      if (!(error instanceof ForumError)) throw error; // aborted
      error.eventIds = list.map((event) => event.event_id);
      if (!error.temporary || attempt >= retries) throw error;
      await sleep(Math.max(error.retryAfter ?? 0, backoff(attempt, 10)), signal);
    }
  }
}

/**
 * Read one page. `wait` (seconds, 60 at most) makes it wait for something to deliver: long polling.
 *
 * Take `(await read({ cursor: "latest" })).next_cursor` before you load a snapshot of your own: a stream from there
 * misses nothing that the snapshot hasn't. Throws ForumReset where the events after the cursor are no longer there.
 * @param {string|URL|(Selection & RequestOptions & {wait?: number, signal?: AbortSignal})} [url]
 * @param {Selection & RequestOptions & {wait?: number, signal?: AbortSignal}} [options]
 * @returns {Promise<Page>}
 */
export async function read(url, options) {
  if (!isAddress(url)) return read(HERE, url ?? options);
  const { headers, credentials, signal } = options ?? {};
  return ask(withQuery(new URL("events", mountOf(url)), options ?? {}), { headers, credentials, signal, cache: "no-store" });
}

/**
 * A stream of events, from {@link connect}. It tells by DOM events:
 *
 * - `event`: `detail` is one event of the forum;
 * - `events`: `detail` is the list of those that came together, after their single `event`s: take one of the two, this
 *   one where many come at once and drawing costs;
 * - `reset`: `detail` is `{reason, nextCursor}`: drop what you derived from the events; what follows starts anew;
 * - `live`: all that was stored is delivered, from here on events come as they happen; `detail` is `{mode}`;
 * - `state`: `detail` is `{state, previous, retryIn, error}`; `retryIn` are the seconds to the next try;
 * - `error`: `detail` is the ForumError that ended the stream for good.
 */
export class ForumStream extends EventTarget {
  /** @type {State} */ #state = "connecting";
  #mount;
  #options;
  #cursor;
  #sequence = 0;
  #live = false;
  #opened = false;
  #attempt = 0;
  #retry = 0; // seconds, from the server's `retry:`
  #farewell; // the forum.error that announced the end
  #link = new AbortController();
  #heardAt = 0;
  #patience = 0;
  #wake;

  constructor(mount, options) {
    super();
    const { transport = "sse", heartbeat = 25, maxDelay = 30 } = options;
    if (!Object.hasOwn(TRANSPORTS, transport)) throw new TypeError(`transport: got "${transport}", expected "sse" or "ws"`);
    for (const [name, value] of Object.entries({ heartbeat, maxDelay })) {
      if (!(value > 0)) throw new TypeError(`${name}: got ${value}, expected seconds above 0`);
    }
    this.#mount = mount;
    this.#options = { ...options, transport, heartbeat, maxDelay };
    queueMicrotask(() => this.#run()); // not at once: whoever made the stream adds its listeners first
  }

  get state() {
    return this.#state;
  }

  /** The position just after the last event that was delivered or passed over by the filter; undefined at first. */
  get cursor() {
    return this.#cursor;
  }

  /** End the stream for good. */
  close() {
    this.#end();
  }

  /** Try again now rather than at the end of the wait, for a "retry now" button. */
  reconnect() {
    this.#wake?.();
  }

  async #run() {
    const watch = setInterval(() => this.#check(), Math.min(5000, this.#options.heartbeat * 500));
    const awake = ({ type }) => {
      if (type !== "online" && document.visibilityState === "hidden") return;
      this.#check();
      this.reconnect();
    };
    globalThis.document?.addEventListener("visibilitychange", awake);
    globalThis.addEventListener("online", awake);
    while (this.#state !== "closed") {
      const error = await this.#follow();
      if (error.temporary || (error.status === 404 && this.#opened)) await this.#pause(error);
      else this.#end(error);
    }
    clearInterval(watch);
    globalThis.document?.removeEventListener("visibilitychange", awake);
    globalThis.removeEventListener("online", awake);
  }

  // One connection, from its start to its end; returns why it ended.
  async #follow() {
    this.#link = new AbortController();
    this.#live = false;
    this.#farewell = undefined;
    this.#hear(CONNECT_SECONDS);
    const { transport, heartbeat, headers, credentials } = this.#options;
    const take = (frames) => {
      this.#hear(heartbeat * 2.5);
      for (const frame of frames) this.#take(frame);
    };
    try {
      await TRANSPORTS[transport](this.#address(), { headers, credentials, signal: this.#link.signal }, take);
    } catch (error) {
      // Chromium sometimes tells of an abort in its own words, without the reason that it was given.
      return this.#explain(this.#link.signal.aborted ? this.#link.signal.reason : error);
    }
    const { code, message } = this.#farewell ?? { code: "unreachable", message: "the connection ended" };
    return new ForumError(code, message);
  }

  #address() {
    const { cursor, tail, ...rest } = this.#options;
    const address = new URL("stream", this.#mount);
    if (!this.#cursor) return withQuery(address, this.#options);
    if (rest.transport === "ws") return withQuery(address, { ...rest, cursor: this.#cursor });
    withQuery(address, rest).searchParams.set("last_event_id", this.#cursor);
    return address;
  }

  #take(frame) {
    if (this.#state === "closed") return;
    if (frame.type === "retry") return void (this.#retry = frame.retry_ms / 1000);
    if (frame.type === "forum.error") return void (this.#farewell = frame);
    this.#attempt = 0; // a refusal that comes as a 200 has only the two above, so the waits grow
    this.#opened = true;
    if (this.#state === "connecting" || this.#state === "reconnecting") this.#become("catching-up");
    if (frame.type === "forum.events") this.#deliver(frame.events);
    if (frame.type === "forum.reset") this.#startOver(frame.reason, frame.next_cursor);
    if (frame.next_cursor) this.#cursor = frame.next_cursor;
    if (frame.type === "forum.live") {
      this.#live = true;
      this.#become("live");
      this.#tell("live", { mode: frame.mode });
    }
    if (frame.type === "heartbeat") this.#become(frame.degraded ? "degraded" : this.#live ? "live" : "catching-up");
  }

  #deliver(events) {
    const fresh = events.filter(({ sequence }) => sequence > this.#sequence && (this.#sequence = sequence));
    for (const event of fresh) {
      this.#cursor = event.cursor;
      this.#tell("event", event);
      if (this.#state === "closed") return;
    }
    if (fresh.length) this.#tell("events", fresh);
  }

  #startOver(reason, nextCursor) {
    this.#sequence = 0;
    this.#live = false;
    this.#become("catching-up");
    this.#tell("reset", { reason, nextCursor });
  }

  #explain(error) {
    if (!(error instanceof ForumError)) return new ForumError("unreachable", error.message, { cause: error });
    if (error.code !== "invalid_cursor" || !this.#cursor) return error;
    // The server gave us this cursor and now can't even read it: another log stands behind the address. Over SSE the
    // server says so by a reset; a WebSocket is refused.
    this.#cursor = undefined;
    this.#options = { ...this.#options, cursor: "earliest", tail: undefined };
    this.#startOver("replaced");
    return new ForumError("unreachable", error.message);
  }

  async #pause(error) {
    const heed = this.#attempt === 0 || this.#farewell; // the server spreads its clients by `retry:`
    const wait = Math.max(backoff(this.#attempt, this.#options.maxDelay), heed ? this.#retry : 0, error.retryAfter ?? 0);
    this.#attempt += 1;
    this.#become("reconnecting", { retryIn: wait, error });
    if (this.#state === "closed") return;
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, wait * 1000);
      this.#wake = () => (clearTimeout(timer), resolve());
    });
    this.#wake = undefined;
  }

  #end(error) {
    if (this.#state === "closed") return;
    this.#become("closed", { error });
    this.#link.abort();
    this.#wake?.();
    if (error) this.#tell("error", error);
  }

  #hear(patience) {
    this.#heardAt = Date.now();
    this.#patience = patience;
  }

  // By the clock, not by one long timer: timers stand still while a laptop sleeps, and the time does not.
  #check() {
    if (Date.now() - this.#heardAt <= this.#patience * 1000) return;
    this.#link.abort(new ForumError("silent", `the connection was silent for ${this.#patience} s`));
  }

  #become(state, more) {
    const previous = this.#state;
    if (previous === "closed" || (previous === state && !more)) return;
    this.#state = state;
    this.#tell("state", { state, previous, ...more });
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

// Server-Sent Events by fetch: unlike an EventSource it can tell why it was refused, sets headers, and never gives up.
async function overSse(address, { headers, ...request }, take) {
  const response = await fetch(address, { ...request, headers: { Accept: "text/event-stream", ...headers }, cache: "no-store" });
  if (!response.ok) throw await refusal(response);
  const type = response.headers.get("Content-Type") ?? "nothing";
  if (!type.startsWith("text/event-stream")) throw new ForumError("unreachable", `got ${type}, expected text/event-stream`);
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  const parse = makeParser();
  for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
    take(parse(decoder.decode(chunk.value, { stream: true })));
  }
}

function makeParser() {
  let rest = "";
  let type = "";
  let data = [];
  return (text) => {
    const frames = [];
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/); // a CR at the very end may be half of a CRLF
    rest = lines.pop();
    for (const line of lines) {
      const [, name, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
      if (name === "event") type = value;
      else if (name === "data") data.push(value);
      else if (name === "retry") frames.push({ type: "retry", retry_ms: Number(value) || 0 });
      else if (line === "" && data.length) addFrame(frames, type, JSON.parse(data.join("\n")));
      if (line === "") [type, data] = ["", []];
    }
    return frames;
  };
}

function addFrame(frames, type, content) {
  if (type) frames.push({ ...content, type });
  else if (frames.at(-1)?.type === "forum.events") frames.at(-1).events.push(content);
  else frames.push({ type: "forum.events", events: [content] });
}

async function overWebSocket(address, { signal, ...request }, take) {
  const socket = new WebSocket(address.href.replace(/^http/, "ws"));
  let opened = false;
  try {
    await new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
      socket.onopen = () => {
        opened = true;
        take([]);
      };
      socket.onclose = resolve;
      socket.onmessage = ({ data }) => {
        try {
          take([JSON.parse(data)]);
        } catch (error) {
          reject(error); // what can't be read must not be passed over: connect again, from where it was
        }
      };
    });
  } finally {
    socket.onmessage = null;
    socket.close();
  }
  if (!opened) throw await whyNot(address, { signal, ...request });
}

const TRANSPORTS = { sse: overSse, ws: overWebSocket };

// A browser hides why a WebSocket was refused; a page with the same parameters is refused for the same reason.
async function whyNot(address, request) {
  const page = new URL("events", address);
  page.search = address.search;
  try {
    await ask(page, { ...request, cache: "no-store" });
  } catch (error) {
    if (!(error instanceof ForumReset)) return error;
  }
  return new ForumError("unreachable", "the WebSocket could not be opened");
}

async function ask(address, request) {
  let response;
  try {
    response = await fetch(address, request);
    if (response.ok) return await response.json();
  } catch (error) {
    if (request.signal?.aborted) throw error;
    throw new ForumError("unreachable", error.message, { cause: error, outcome: "unknown" });
  }
  throw await refusal(response);
}

async function refusal(response) {
  const body = await response.json().catch(() => null);
  const { code = "refused", message = `${response.status} ${response.statusText}`, ...more } = body?.error ?? {};
  if (code === "cursor_expired") return new ForumReset(more.reason, more.earliest_cursor);
  return new ForumError(code, message, {
    ...more, status: response.status, retryAfter: Number(response.headers.get("Retry-After")) || undefined,
  });
}

function withQuery(address, options) {
  for (const [option, name] of Object.entries(QUERY)) {
    for (const value of [options[option] ?? []].flat()) address.searchParams.append(name, value);
  }
  return address;
}

// Seconds to wait after the first, second, third try: 1, 2, 4, …, each between half and all of that.
function backoff(attempt, longest) {
  return Math.min(longest, 2 ** attempt) * (0.5 + Math.random() / 2);
}

function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

// crypto.randomUUID() is missing on plain http, except on localhost.
function makeId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function isAddress(value) {
  return typeof value === "string" || value instanceof URL;
}

function mountOf(url) {
  const mount = new URL(url, globalThis.location?.href ?? HERE);
  mount.pathname = mount.pathname.replace(/\/*$/, "/");
  mount.search = mount.hash = "";
  return mount;
}
