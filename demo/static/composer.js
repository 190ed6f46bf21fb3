/** The reply box. What is typed is never lost: it is kept until the server has taken it. */

import { drafts, me } from "./local.js";
import { el } from "./text.js";

export class Composer {
  element;
  #text;
  #error;
  #send;
  #name;
  #attempt = { body: null, request: null };
  #closed = false;

  /** The unsent reply to a thread. */
  static draftOf(threadId) {
    return drafts.get(`reply.${threadId}`);
  }

  /**
   * @param {string} threadId
   * @param {(body: string, request: string) => Promise<unknown>} reply sends it; throws NotDone
   * @param {() => void} reopen asks for a closed thread to be opened again
   */
  constructor(threadId, reply, reopen) {
    this.#text = el("textarea", { name: "body", rows: "1", "aria-label": "Reply", placeholder: "Reply…" });
    this.#error = el("p.form-error", { role: "alert" });
    this.#send = el("button.primary", { type: "submit", title: "Ctrl + Enter" }, "Reply");
    this.#name = el("span.hint");
    this.element = el("form.composer", { novalidate: true }, this.#text, this.#send, this.#error, this.#name);
    this.#text.value = Composer.draftOf(threadId);
    this.#text.addEventListener("input", () => {
      drafts.set(`reply.${threadId}`, this.#text.value);
      this.#fail("");
      this.#fit();
    });
    this.#text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.element.requestSubmit();
    });
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#closed) reopen();
      else this.#submit(threadId, reply);
    });
    requestAnimationFrame(() => this.#fit());
  }

  async #submit(threadId, reply) {
    if (this.#send.disabled) return;
    const body = this.#text.value;
    // The same words sent again are the same reply: if the first try did arrive after all, this one changes nothing.
    if (this.#attempt.body !== body) this.#attempt = { body, request: me.newRequest() };
    this.#send.disabled = true;
    try {
      await reply(body, this.#attempt.request);
      this.#attempt = { body: null, request: null };
      if (this.#text.value === body) this.#text.value = "";
      drafts.set(`reply.${threadId}`, this.#text.value);
      this.#fail("");
      this.#fit();
    } catch (error) {
      this.#fail(error.fields?.body ?? error.message);
    } finally {
      this.#send.disabled = false;
    }
  }

  /** Show under which name a reply goes, and whether it can: a closed thread takes none; what was typed stays. */
  draw(closed) {
    this.#closed = closed;
    this.#text.disabled = closed;
    this.#text.placeholder = closed ? "This thread is closed." : "Reply…";
    this.#send.textContent = closed ? "Reopen" : "Reply";
    this.#send.title = closed ? "" : "Ctrl + Enter";
    this.#name.textContent = closed ? "" : `as ${me.name}, Ctrl + Enter sends`;
  }

  #fail(message) {
    this.#error.textContent = message;
    this.#text.setAttribute("aria-invalid", String(Boolean(message)));
  }

  #fit() {
    this.#text.style.height = "auto";
    this.#text.style.height = `${Math.min(this.#text.scrollHeight + 2, 240)}px`;
  }
}
