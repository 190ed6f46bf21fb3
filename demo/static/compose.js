/** The sheet for a new question, and the one for one's name. */

import { drafts, me } from "./local.js";
import { el } from "./text.js";

const FIELDS = ["title", "body", "ticket", "run_id", "priority"];

export class AskSheet {
  #dialog = document.querySelector("#compose");
  #form = this.#dialog.querySelector("form");
  #attempt = { content: null, request: null };
  #ask;
  #asked;

  /**
   * @param {(question: object) => Promise<{thread_id: string}>} ask sends it; throws NotDone
   * @param {(threadId: string) => void} asked called with the new thread
   */
  constructor(ask, asked) {
    this.#ask = ask;
    this.#asked = asked;
    this.#restore();
    this.#form.addEventListener("input", () => this.#keep());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#form.requestSubmit();
    });
    closesByItself(this.#dialog);
  }

  /** Open the sheet; `given` fills fields that are still empty. */
  open(store, given = {}) {
    const { elements } = this.#form;
    for (const [name, value] of Object.entries(given)) if (!elements[name].value) elements[name].value = value;
    elements.name.value = me.name;
    fillList("#known-tickets", store.tickets.keys());
    fillList("#known-runs", store.runs.keys());
    if (!this.#dialog.open) this.#dialog.showModal();
    elements.title.focus();
  }

  async #submit() {
    const send = this.#form.querySelector("[type=submit]");
    if (send.disabled) return;
    const question = { ...this.#values(), name: this.#form.elements.name.value };
    const content = JSON.stringify(question);
    if (this.#attempt.content !== content) this.#attempt = { content, request: me.newRequest() };
    send.disabled = true;
    this.#fail("", {});
    try {
      const { thread_id: threadId } = await this.#ask({ ...question, request_id: this.#attempt.request });
      this.#attempt = { content: null, request: null };
      me.name = question.name;
      this.#form.reset();
      drafts.set("ask", "");
      this.#dialog.close();
      this.#asked(threadId);
    } catch (error) {
      this.#fail(Object.keys(error.fields ?? {}).length ? "" : error.message, error.fields ?? {});
    } finally {
      send.disabled = false;
    }
  }

  #values() {
    return Object.fromEntries(FIELDS.map((name) => [name, this.#form.elements[name].value]));
  }

  #keep() {
    drafts.set("ask", JSON.stringify(this.#values()));
  }

  #restore() {
    const kept = JSON.parse(drafts.get("ask") || "{}");
    for (const name of FIELDS) if (kept[name]) this.#form.elements[name].value = kept[name];
  }

  #fail(message, fields) {
    this.#form.querySelector(".form-error").textContent = message;
    for (const shown of this.#form.querySelectorAll("[data-error]")) {
      const said = fields[shown.dataset.error] ?? "";
      shown.textContent = said;
      const field = this.#form.elements[shown.dataset.error];
      if (field instanceof HTMLElement) field.setAttribute("aria-invalid", String(Boolean(said)));
    }
    this.#form.querySelector("[aria-invalid=true]")?.focus();
  }
}

export class NameSheet {
  #dialog = document.querySelector("#rename");

  /** @param {() => void} renamed */
  constructor(renamed) {
    const form = this.#dialog.querySelector("form");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (form.elements.name.value.trim()) me.name = form.elements.name.value;
      this.#dialog.close();
      renamed();
    });
    closesByItself(this.#dialog);
  }

  open() {
    const field = this.#dialog.querySelector("input");
    field.value = me.name;
    this.#dialog.showModal();
    field.select();
  }
}

function closesByItself(dialog) {
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // a click beside the sheet
}

function fillList(selector, values) {
  document.querySelector(selector).replaceChildren(...[...values].slice(0, 500).map((value) => el("option", { value })));
}
