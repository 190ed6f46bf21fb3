/** What the page says about itself: the state of its connection, and short notices. */

import { clockTime, el } from "./text.js";

const SAID = {
  connecting: "Connecting…",
  "catching-up": "Catching up…",
  live: "Live",
  degraded: "Server can't reach its log",
  reconnecting: "Reconnecting…",
  closed: "Disconnected",
};

const BACK_SHOWN = 4000; // milliseconds

/** The pill in the bar, and, while the page isn't live, the banner under it. */
export class Connection {
  #pill = document.querySelector("#connection");
  #announced = document.querySelector("#announced"); // apart from the banner, whose seconds nobody wants read out
  #banner = document.querySelector("#banner");
  #said = document.querySelector("#banner-text");
  #retry = document.querySelector("#retry");
  #stream;
  #lostAt = null;
  #backAt = -Infinity;
  #retryAt = 0;
  #error = null;
  #timer;

  /** @param {import("/forum/client.js").ForumStream} stream */
  constructor(stream) {
    this.#stream = stream;
    stream.addEventListener("state", ({ detail: { state, previous, retryIn = 0, error = null } }) => {
      if (state === "live" && this.#lostAt !== null) [this.#backAt, this.#lostAt] = [Date.now(), null];
      if (previous === "live") this.#lostAt = Date.now();
      this.#retryAt = Date.now() + retryIn * 1000;
      this.#error = error;
      this.draw();
    });
  }

  /** Another mark of the state, for where the bar isn't in sight. */
  mark() {
    const made = el("span.connection", {}, el("span.dot", { "aria-hidden": "true" }), el("span"));
    setMark(made, this.#stream.state);
    return made;
  }

  draw() {
    const { state } = this.#stream;
    document.body.dataset.connection = state;
    if (this.#pill.dataset.state !== state) {
      for (const mark of document.querySelectorAll(".connection")) setMark(mark, state);
      this.#announced.textContent = SAID[state];
    }
    const message = this.#message(state);
    this.#banner.hidden = !message;
    this.#banner.dataset.kind = { live: "good", closed: "bad" }[state] ?? "warn";
    this.#retry.hidden = state !== "reconnecting";
    if (message) this.#said.textContent = message;
    clearTimeout(this.#timer);
    if (message && state === "live") this.#timer = setTimeout(() => this.draw(), BACK_SHOWN);
    if (state === "reconnecting") this.#timer = setTimeout(() => this.draw(), 500); // it counts the seconds
  }

  #message(state) {
    const since = this.#lostAt === null ? "" : ` since ${clockTime(this.#lostAt)}`;
    const seconds = Math.ceil((this.#retryAt - Date.now()) / 1000);
    switch (state) {
      case "live":
        return Date.now() - this.#backAt < BACK_SHOWN ? "Back online, and up to date." : "";
      case "reconnecting":
        return `No connection${since}. ${seconds > 0 ? `Next try in ${seconds} s.` : "Trying…"}`;
      case "degraded":
        return `The server can't reach its log${since}. Nothing is lost: new posts come as soon as it can.`;
      case "closed":
        return `The server refused the connection: ${this.#error?.message ?? "closed"}. Reload the page to try again.`;
      default:
        return this.#lostAt === null ? "" : "Connected again, catching up…";
    }
  }
}

function setMark(mark, state) {
  mark.dataset.state = state;
  mark.lastElementChild.textContent = SAID[state];
}

/** Short notices at the edge of the page. */
export class Toasts {
  #root = document.querySelector("#toasts");

  show(message, kind = "note") {
    if ([...this.#root.children].some((toast) => toast.textContent === message)) return;
    const toast = el("p.toast", { "data-kind": kind }, message);
    this.#root.append(toast);
    setTimeout(() => toast.remove(), 7000);
  }
}
