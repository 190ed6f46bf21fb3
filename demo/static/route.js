/** The address bar: `#/thread/ID?ticket=…&run=…&show=…&search=…` opens that thread in the list of these filters. */

const DEFAULTS = { ticket: "", run: "", show: "open", search: "" };

/** Read the address: `{thread, filters}`; `thread` is null for the list alone. */
export function readRoute() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const given = new URLSearchParams(query);
  const filters = Object.fromEntries(Object.entries(DEFAULTS).map(([name, otherwise]) => [name, given.get(name) ?? otherwise]));
  const [place, ...id] = path.split("/");
  return { thread: place === "thread" && id.length ? decode(id.join("/")) : null, filters };
}

/** The address of a thread (or, for null, of the list) with these filters. */
export function routeTo(thread, filters) {
  const query = new URLSearchParams(Object.entries(filters).filter(([name, value]) => value && value !== DEFAULTS[name]));
  const path = thread === null ? "#/" : `#/thread/${encodeURIComponent(thread)}`;
  return query.size ? `${path}?${query}` : path;
}

function decode(id) {
  try {
    return decodeURIComponent(id);
  } catch {
    return id;
  }
}
