/**
 * The list of threads. Only so many rows as were scrolled to are in the page, and of those only the changed ones are
 * drawn again: the list stays quick with thousands of threads, and what has the focus keeps it.
 */

import { routeTo } from "./route.js";
import { PRIORITIES, STATES } from "./store.js";
import { el, icon, timeOf } from "./text.js";

const STEP = 60;
const PRESSING = ["high", "urgent"]; // the priorities that a row shows

export class ThreadList {
  #rows = new Map(); // by thread id: {link, item, version, unread}
  #shown = STEP;
  #order = [];
  #root = document.querySelector("#rows");
  #empty = document.querySelector("#list-empty");
  #filters = document.querySelector("#filters");

  /**
   * @param {(filters: object) => void} filtered called when the person here changes a filter
   * @param {() => void} redraw called when the list is due to be drawn again
   */
  constructor(filtered, redraw) {
    this.#root.addEventListener("pointerleave", redraw);
    this.#filters.addEventListener("input", () => filtered(this.#read()));
    this.#filters.addEventListener("submit", (event) => event.preventDefault());
    this.#root.addEventListener("keydown", (event) => this.#arrow(event));
    const end = document.querySelector("#list-loading");
    new IntersectionObserver(([entry]) => entry.isIntersecting && this.#more(), { rootMargin: "600px" }).observe(end);
  }

  #read() {
    const { search, ticket, run, show } = this.#filters.elements;
    return { search: search.value.trim(), ticket: ticket.value, run: run.value, show: show.value };
  }

  /** Draw what is new. `route` is what the address says, `marks` what was read. */
  draw(store, marks, route, loading) {
    this.#drawFilters(store, route.filters);
    const unread = new Map();
    for (const thread of store.threads.values()) {
      const count = marks.count(thread);
      if (count) unread.set(thread.id, count);
    }
    const found = [...store.threads.values()].filter((thread) => concerns(thread, route.filters));
    const kept = found.filter((thread) => SHOWN[route.filters.show]?.(thread, unread, route) ?? true);
    this.#order = this.#sorted(kept);
    this.#context = { unread, route };
    this.#drawRows();
    this.#count(found, unread);
    this.#drawEmpty(store, loading);
    document.title = unread.size ? `(${unread.size}) Forum` : "Forum";
  }

  #context = { unread: new Map(), route: { thread: null, filters: {} } };

  // While the pointer is over the list the rows keep their places, lest one slips away under a click; new ones go on top.
  #sorted(threads) {
    const newestFirst = threads.sort((a, b) => b.order - a.order);
    if (!this.#root.matches(":hover") || !matchMedia("(hover: hover)").matches) return newestFirst;
    const places = new Map(this.#order.map((thread, index) => [thread.id, index]));
    return newestFirst.sort((a, b) => (places.get(a.id) ?? -1) - (places.get(b.id) ?? -1));
  }

  #more() {
    if (this.#shown >= this.#order.length) return;
    this.#shown += STEP;
    this.#drawRows();
  }

  #drawRows() {
    const focused = document.activeElement;
    let place = this.#root.firstChild;
    const { unread, route } = this.#context;
    for (const thread of this.#order.slice(0, this.#shown)) {
      const row = this.#rows.get(thread.id) ?? this.#make(thread.id);
      this.#fill(row, thread, unread.get(thread.id) ?? 0, route);
      if (row.item === place) place = place.nextSibling;
      else this.#root.insertBefore(row.item, place);
    }
    while (place) {
      const next = place.nextSibling;
      this.#rows.delete(place.dataset.id);
      place.remove();
      place = next;
    }
    if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
    const rest = this.#order.length > this.#shown;
    document.querySelector("#list-loading").toggleAttribute("data-more", rest);
  }

  #make(id) {
    const link = el("a.row");
    const item = el("li", { "data-id": id }, link);
    const row = { link, item, version: null, unread: 0 };
    this.#rows.set(id, row);
    return row;
  }

  #fill(row, thread, unread, route) {
    const address = routeTo(thread.id, route.filters);
    if (row.link.getAttribute("href") !== address) row.link.setAttribute("href", address);
    if (thread.id === route.thread) row.link.setAttribute("aria-current", "true");
    else row.link.removeAttribute("aria-current");
    if (row.thread === thread && row.version === thread.version && row.unread === unread) return;
    Object.assign(row, { thread, version: thread.version, unread });
    row.link.replaceChildren(...rowParts(thread, unread));
    row.link.toggleAttribute("data-unread", unread > 0);
    row.link.dataset.state = thread.state;
  }

  #drawFilters(store, filters) {
    const { search, ticket, run } = this.#filters.elements;
    if (document.activeElement !== search && search.value !== filters.search) search.value = filters.search;
    const tickets = [...store.tickets].sort(([a], [b]) => a.localeCompare(b, undefined, { numeric: true }));
    const runs = [...store.runs.values()].filter((each) => !filters.ticket || each.ticket === filters.ticket);
    const names = runs.map((each) => each.id).sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    setOptions(ticket, "All tickets", tickets.map(([name]) => name), filters.ticket);
    setOptions(run, "All runs", names, filters.run);
    for (const radio of this.#filters.elements.show) radio.checked = radio.value === filters.show;
  }

  #count(found, unread) {
    const show = (id, count) => (document.querySelector(`#count-${id}`).textContent = count || "");
    show("open", found.filter((thread) => thread.state !== "closed").length);
    show("closed", found.filter((thread) => thread.state === "closed").length);
    show("unread", found.filter((thread) => unread.has(thread.id)).length);
  }

  #drawEmpty(store, loading) {
    const { filters } = this.#context.route;
    document.querySelector("#list-loading").toggleAttribute("data-loading", loading && !store.threads.size);
    this.#empty.hidden = this.#order.length > 0 || loading;
    if (this.#empty.hidden) return;
    const filtered = filters.search || filters.ticket || filters.run || filters.show !== "open";
    const said = !store.threads.size
      ? ["Nothing here yet", "Ask the first question: everyone who has this page open sees it at once."]
      : filtered
        ? [filters.show === "unread" ? "All read" : "No thread matches", "Other threads are there: loosen the filters to see them."]
        : ["No open threads", "Everything that was asked has been closed."];
    this.#empty.replaceChildren(el("h2", {}, said[0]), el("p", {}, said[1]));
  }

  #arrow(event) {
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    const item = event.target.closest("li");
    if (!step || !item || event.ctrlKey || event.metaKey || event.altKey) return;
    const next = step > 0 ? item.nextElementSibling : item.previousElementSibling;
    next?.querySelector("a").focus();
    event.preventDefault();
  }
}

const SHOWN = {
  open: (thread) => thread.state !== "closed",
  closed: (thread) => thread.state === "closed",
  // The one that is open in the other pane stays, though opening it has just read it.
  unread: (thread, unread, route) => unread.has(thread.id) || thread.id === route.thread,
};

function concerns(thread, { ticket, run, search }) {
  if ((ticket && thread.ticket !== ticket) || (run && thread.run !== run)) return false;
  if (!search) return true;
  const wanted = search.toLocaleLowerCase();
  const own = [thread.title, thread.ticket, thread.run ?? "", thread.assignee ?? ""];
  return own.some((text) => text.toLocaleLowerCase().includes(wanted)) ||
    thread.items.some((item) => item.kind !== "note" && item.body.toLocaleLowerCase().includes(wanted));
}

function rowParts(thread, unread) {
  const { preview } = thread;
  const said = preview && preview.body.replace(/```[^\n]*\n?|\s+/g, " ").slice(0, 160);
  return [
    el("span.row-head", {},
      el("span.row-title", {}, thread.title || `Thread ${thread.id}`),
      unread ? el("span.unread", { "aria-label": `${unread} unread` }, String(unread)) : null,
      timeOf(thread.lastAt)),
    preview ? el("span.row-preview", {}, el("b", { "data-type": preview.who.type }, preview.who.name), ` ${said}`) : null,
    el("span.row-meta", {},
      stateMark(thread.state),
      PRESSING.includes(thread.priority) ? priorityMark(thread.priority) : null,
      el("span.tag", {}, thread.ticket),
      thread.run ? el("span.tag", {}, thread.run) : null,
      el("span.replies", { title: `${thread.replies} replies` }, icon("reply"), String(thread.replies))),
  ];
}

/** A state, by a coloured dot and in words. */
export function stateMark(state) {
  return el("span.state", { "data-state": state }, STATES[state]);
}

/** A priority, by bars and in words. */
export function priorityMark(priority) {
  return el("span.priority", { "data-priority": priority }, el("i", { "aria-hidden": "true" }), PRIORITIES[priority]);
}

/** Fill a select with choices, keeping the chosen one in it whatever the choices are; touches nothing that is the same. */
export function setOptions(select, all, values, chosen) {
  const wanted = chosen && !values.includes(chosen) ? [...values, chosen] : values;
  const key = JSON.stringify([all, wanted]);
  if (select.dataset.key !== key) {
    select.dataset.key = key;
    select.replaceChildren(el("option", { value: "" }, all), ...wanted.map((value) => el("option", { value }, value)));
  }
  if (select.value !== chosen) select.value = chosen;
}
