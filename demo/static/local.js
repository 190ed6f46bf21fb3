/** What this browser remembers by itself: who is sitting here, what was read, and what was half written. */

function storage(kind) {
  try {
    globalThis[kind].setItem("forum.probe", "1");
    globalThis[kind].removeItem("forum.probe");
    return globalThis[kind];
  } catch {
    return null; // turned off, or full: the page works without
  }
}

const lasting = storage("localStorage");
const session = storage("sessionStorage");

function keep(area, name, value) {
  try {
    if (value === null || value === "") area?.removeItem(name);
    else area?.setItem(name, value);
  } catch {
    // full: what can't be remembered is forgotten
  }
}

function random(bytes) {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Who is sitting here. `client` marks what was sent from this browser. */
export const me = {
  client: lasting?.getItem("forum.client") ?? random(6),
  get name() {
    return lasting?.getItem("forum.name") ?? `Guest ${parseInt(this.client.slice(0, 4), 16) % 90 + 10}`;
  },
  set name(name) {
    keep(lasting, "forum.name", name.trim());
  },
  /** Whether an event was sent from this browser. */
  sent(eventId) {
    return eventId.startsWith(`web-${this.client}-`);
  },
  /** An id for something to be sent: made once, so that sending it again is safe. */
  newRequest() {
    return `web-${this.client}-${random(8)}`;
  },
};
keep(lasting, "forum.client", me.client);

/** Half-written text; it outlives a reload of the page and a restart of the server. */
export const drafts = {
  get: (name) => session?.getItem(`forum.draft.${name}`) ?? "",
  set: (name, text) => keep(session, `forum.draft.${name}`, text),
};

/** The chosen colour scheme: "light", "dark", or "auto". */
export const theme = {
  get: () => lasting?.getItem("forum.theme") ?? "auto",
  set: (scheme) => keep(lasting, "forum.theme", scheme === "auto" ? null : scheme),
};

/**
 * What has been read: for each thread the sequence of the newest entry seen. Threads not listed count as read up to
 * `since`, the newest entry at this browser's first visit to the log. Sequences are of one log: with another log the
 * marks begin anew. Until it is known which log it is, and where it began for this browser, nothing counts as unread.
 */
export class ReadMarks {
  #log = null;
  #seen = new Map();
  #since = null;
  #changed;

  /** @param {() => void} changed called when another tab has read something */
  constructor(changed) {
    this.#changed = changed;
    addEventListener("storage", ({ key }) => {
      if (key !== "forum.read") return;
      this.#load();
      this.#changed();
    });
  }

  #load() {
    let kept = null;
    try {
      kept = JSON.parse(lasting?.getItem("forum.read") ?? "null");
    } catch {
      // not ours, or cut off: as on a first visit
    }
    if (kept?.log !== this.#log) kept = null; // of another log
    this.#seen = new Map(Object.entries(kept?.seen ?? {}));
    this.#since = kept?.since ?? null;
  }

  /** Take up the marks of a log, which goes by the epoch of its cursors. */
  of(log) {
    if (this.#log === log) return;
    this.#log = log;
    this.#load();
  }

  /** All that is there at the very first visit counts as read; `newest` is the sequence of the last of it. */
  begin(newest) {
    if (this.#since !== null) return;
    this.#since = newest;
    this.#save();
  }

  #seenOf(thread) {
    return this.#seen.get(thread.id) ?? this.#since ?? Infinity;
  }

  /** Whether an entry of a thread is new to whoever sits here. */
  isNew(thread, item) {
    return item.sequence > this.#seenOf(thread) && !me.sent(item.id);
  }

  /** How many entries of a thread are unread. */
  count(thread) {
    if (thread.order <= this.#seenOf(thread)) return 0;
    return thread.items.reduce((count, item) => count + (this.isNew(thread, item) ? 1 : 0), 0);
  }

  /** Mark a thread as read. */
  read(thread) {
    const newest = thread.items.at(-1).sequence;
    if (newest <= this.#seenOf(thread)) return;
    this.#seen.set(thread.id, newest);
    this.#save();
  }

  #save() {
    if (this.#seen.size > 2000) {
      const newest = [...this.#seen].sort((a, b) => b[1] - a[1]).slice(0, 1000);
      this.#seen = new Map(newest);
      this.#since = Math.max(this.#since, newest.at(-1)[1]); // or those forgotten would all be unread again
    }
    keep(lasting, "forum.read", JSON.stringify({ log: this.#log, since: this.#since, seen: Object.fromEntries(this.#seen) }));
  }
}
