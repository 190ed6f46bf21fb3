/**
 * The page: one stream of the forum, the store that is derived from it, and the two panes that show the store.
 *
 * The stream begins at the earliest event and replays the log; from then on it is live. After a reset a second store is
 * built beside the one on show and takes its place when it is complete, so nothing flickers and no form is touched.
 */

import { connect } from "/forum/client.js";

import { act } from "./api.js";
import { AskSheet, NameSheet } from "./compose.js";
import { ThreadList } from "./list.js";
import { ReadMarks, me, theme } from "./local.js";
import { readRoute, routeTo } from "./route.js";
import { Connection, Toasts } from "./status.js";
import { Store } from "./store.js";
import { refreshTimes } from "./text.js";
import { ThreadView } from "./thread.js";

const $ = (selector) => document.querySelector(selector);
// A WebSocket: over HTTP/1.1 a browser keeps six connections to a host, and six tabs of SSE would use them up.
const transport = new URLSearchParams(location.search).get("transport") === "sse" ? "sse" : "ws";

const narrow = matchMedia("(width < 52rem)"); // as in the style sheets: one pane at a time

let store = new Store(); // on show
let building = new Store(); // what events go into; the same as `store` while the stream is live
let complete = false;
let asked = null; // the thread that was asked here last: it may take a moment to arrive
let route = readRoute();
let cameFromList = false;
let scheduled = false;

const toasts = new Toasts();
const marks = new ReadMarks(redraw);
const named = (body) => ({ name: me.name, ...body });
const send = (action, body) => act(action, named(body));
const list = new ThreadList((filters) => {
  history.replaceState(null, "", routeTo(route.thread, filters));
  route = readRoute();
  redraw();
}, redraw);
const view = new ThreadView({
  act: send, redraw, back, toast: (message, kind) => toasts.show(message, kind), ask: (given) => sheet.open(store, given),
  mark: () => connection.mark(),
  filter(name, value) {
    location.hash = routeTo(narrow.matches ? null : route.thread, { ...route.filters, [name]: value });
  },
});
const sheet = new AskSheet((question) => send("ask", question), (threadId) => {
  asked = threadId;
  sayName();
  location.hash = routeTo(threadId, route.filters);
});
const names = new NameSheet(sayName);

const stream = connect({ cursor: "earliest", limit: 1000, transport });
const connection = new Connection(stream);

stream.addEventListener("events", ({ detail: events }) => {
  for (const event of events) building.apply(event);
  if (building !== store) return;
  marks.of(epochOf(events[0].cursor));
  redraw();
});
stream.addEventListener("reset", ({ detail }) => {
  building = new Store();
  if (!complete) return;
  const why = detail.reason === "trimmed" ? "Some of the oldest events are no longer kept" : "The server has a new log";
  toasts.show(`${why}: the page was built anew from it.`, "note");
});
stream.addEventListener("live", () => {
  store = building;
  complete = true;
  if (!store.threads.has(asked)) asked = null; // it went to a log that is no more
  marks.of(epochOf(stream.cursor));
  marks.begin(store.newest);
  redraw();
});

/** What names a log: the first part of its cursors. */
function epochOf(cursor) {
  return cursor.split(".", 1)[0];
}

function redraw() {
  if (scheduled) return;
  scheduled = true;
  setTimeout(draw, 16); // not an animation frame: those stand still in a hidden tab, whose title counts the unread
}

function draw() {
  scheduled = false;
  view.draw(store, marks, route.thread, waitingFor(route.thread)); // first: it shows what is new, before that is read
  const thread = store.threads.get(route.thread);
  if (thread && !document.hidden) marks.read(thread);
  list.draw(store, marks, route, !complete);
  document.body.dataset.view = route.thread === null ? "list" : "thread";
}

function waitingFor(id) {
  if (!complete) return "Loading…";
  return id !== null && id === asked ? "Asked. It appears here as soon as the connection is back…" : null;
}

/** Take the address over; returns the route before. A key can come before the event that tells of a new address. */
function arrive() {
  const before = route;
  route = readRoute();
  if (before.thread !== route.thread) cameFromList = before.thread === null;
  return before;
}

function back() {
  arrive();
  if (route.thread === null) return;
  if (cameFromList) history.back();
  else location.hash = routeTo(null, route.filters);
}

addEventListener("hashchange", () => {
  const before = arrive();
  draw();
  // Where the thread covers the list, the focus goes with what is seen.
  if (!narrow.matches || before.thread === route.thread) return;
  if (route.thread !== null) view.focus();
  else document.querySelector(`li[data-id="${CSS.escape(before.thread)}"] a`)?.focus({ preventScroll: true });
});

document.addEventListener("visibilitychange", () => !document.hidden && redraw());
addEventListener("storage", ({ key }) => key === "forum.name" && sayName()); // in another tab
setInterval(() => refreshTimes(document), 20_000);

$("#ask").addEventListener("click", () => sheet.open(store, { ticket: route.filters.ticket, run_id: route.filters.run }));
$("#me").addEventListener("click", () => names.open());
$("#retry").addEventListener("click", () => stream.reconnect());
$("#theme").addEventListener("click", () => {
  theme.set({ auto: "light", light: "dark", dark: "auto" }[theme.get()]);
  showTheme();
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, dialog");
  if (event.key === "Escape" && !$("dialog[open]")) {
    if (typing) event.target.blur();
    else back();
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key.toLowerCase() === "n") $("#ask").click();
  else if (event.key === "/") $("#filters").elements.search.focus();
  else return;
  event.preventDefault();
});

function sayName() {
  $("#me-name").textContent = me.name;
  redraw(); // the reply box says it too, and who may be assigned
}

function showTheme() {
  const scheme = theme.get();
  if (scheme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = scheme;
  $("#theme use").setAttribute("href", `#i-${{ auto: "auto", light: "sun", dark: "moon" }[scheme]}`);
  const said = { auto: "Colours as the system has them", light: "Light colours", dark: "Dark colours" }[scheme];
  $("#theme").setAttribute("aria-label", said);
  $("#theme").title = said;
}

sayName();
showTheme();
draw();
connection.draw();
