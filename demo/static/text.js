/** Text and time on the page. Nothing here ever makes markup from a string: elements are made, text is set. */

/** Make an element: `el("p.note", {title: "…"}, "text", child)`. Attributes that are null are left out. */
export function el(selector, attributes = {}, ...children) {
  const [tag, ...classes] = selector.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** One of the icons of index.html. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A person's or an agent's mark: its form tells which of the two, its letters who. */
export function avatar({ name, type }) {
  const letters = name.split(/[^\p{L}\p{N}]+/u).filter(Boolean).slice(0, 2).map((part) => [...part][0]).join("");
  return el("span.avatar", { "data-type": type, "aria-hidden": "true" }, letters.toUpperCase() || "?");
}

/** `<time>` that shows how long ago it was; `refreshTimes` keeps it right. */
export function timeOf(at) {
  const time = el("time", { datetime: new Date(at).toISOString(), title: exact.format(at) });
  time.textContent = ago(at);
  return time;
}

/** Set every shown time anew. */
export function refreshTimes(root) {
  for (const time of root.querySelectorAll("time")) time.textContent = ago(Date.parse(time.dateTime));
}

const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const dayAndYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

/** The time of day, as 14:05. */
export function clockTime(at) {
  return clock.format(at);
}

function ago(at) {
  const seconds = (Date.now() - at) / 1000;
  if (Math.abs(seconds) >= 6 * 86400) return dateOf(at);
  if (seconds < 45) return "now"; // or a little ahead: clocks differ
  if (seconds < 3570) return `${Math.max(1, Math.round(seconds / 60))} min`;
  return seconds < 84600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}

function dateOf(at) {
  const thisYear = new Date(at).getFullYear() === new Date().getFullYear();
  return (thisYear ? day : dayAndYear).format(at);
}

/** Write a post's text: paragraphs, ``` blocks, `code` and links. */
export function prose(body) {
  const root = el("div.prose");
  body.split(/^```[^\n]*$/m).forEach((part, index) => {
    const content = part.replace(/^\n+|\s+$/g, "");
    if (!content) return;
    if (index % 2) root.append(el("pre", { tabindex: "0" }, el("code", {}, content)));
    else for (const paragraph of content.split(/\n{2,}/)) root.append(el("p", {}, ...inline(paragraph)));
  });
  return root;
}

function inline(paragraph) {
  return paragraph.split(/(`[^`\n]+`|https?:\/\/[^\s<>"`]+[^\s<>"`.,;:!?)\]}'])/).map((part, index) => {
    if (index % 2 === 0) return part;
    if (part.startsWith("`")) return el("code", {}, part.slice(1, -1));
    return el("a", { href: part, target: "_blank", rel: "noopener noreferrer" }, part);
  });
}
