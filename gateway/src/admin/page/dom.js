// Building the document, and writing figures as people read them.
//
// Everything that comes from the gateway becomes text nodes and attribute values, never markup.

/** Makes an element; `properties` are attributes, or handlers where they begin with `on`. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Replaces what is in `element`. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** Sets the text of `element` where it is another one. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A name that may be anything: on its own, whatever direction it is written in. */
export function name(text) {
  return el("bdi", { class: "name", title: text }, text);
}

/** A table; `columns` are labels, or {label, number, wide}, where wide ones go on small screens. */
export function table(caption, columns, rows, none = "Nothing.") {
  const heads = columns.map((column) => (typeof column === "string" ? { label: column } : column));
  const style = (head) => [head.number && "number", head.wide && "wide"].filter(Boolean).join(" ") || null;
  const head = heads.map((it) => el("th", { scope: "col", class: style(it) }, it.label));
  const cell = (content, at) => {
    const kind = at === 0 ? "th" : "td";
    return el(kind, { scope: at === 0 ? "row" : null, class: style(heads[at]) }, content);
  };
  const body = rows.map((row) => el("tr", {}, row.map(cell)));
  if (rows.length === 0) body.push(el("tr", {}, el("td", { colspan: heads.length, class: "none" }, none)));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
}

/** A word about the state of something, never by colour alone. */
export function badge(kind, text) {
  return el("span", { class: `badge ${kind}` }, text);
}

/** A section with a heading. */
export function section(title, ...children) {
  const heading = el("h2", {}, title);
  return el("section", {}, heading, ...children);
}

/** A figure with its label, which leads to the metric that it is. */
export function tile(label, metric, labels = {}) {
  const value = el("span", { class: "value" }, "–");
  const note = el("span", { class: "note" });
  const link = metric
    ? el("a", { class: "metric", href: metricHref(metric, labels), title: `The metric: ${metric}` }, label)
    : el("span", { class: "metric" }, label);
  const element = el("div", { class: "tile" }, link, value, note);
  return {
    element,
    set(text, noted = "", kind = "") {
      setText(value, text);
      setText(note, noted);
      element.className = `tile ${kind}`;
    },
    lead(others) {
      if (metric) link.setAttribute("href", metricHref(metric, others));
    },
  };
}

/** Where a metric is told of. */
export function metricHref(metric, labels = {}) {
  return `#metric?${new URLSearchParams({ name: metric, ...labels })}`;
}

/** A link to a metric. */
export function metricLink(label, metric, labels = {}) {
  return el("a", { class: "metric", href: metricHref(metric, labels), title: `The metric: ${metric}` }, label);
}

/** A rate, such as `12.3` or `4.56k`. */
export function rate(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  if (value < 0.01) return "<0.01";
  if (value < 10) return value.toFixed(2);
  if (value < 100) return value.toFixed(1);
  return short(value);
}

/** A count, such as `950` or `12.3k`. */
export function short(value) {
  if (value === null || value === undefined) return "–";
  for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (value >= size) {
      const scaled = value / (unit === "k" ? 1e3 : size);
      return (scaled >= 100 ? scaled.toFixed(0) : scaled.toFixed(1)) + unit;
    }
  }
  return Math.round(value).toLocaleString("en");
}

/** A time in seconds, such as `850 µs`, `12.3 ms` or `2.5 s`. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const scaled = seconds < 1e-3 ? [seconds * 1e6, "µs"] : seconds < 1 ? [seconds * 1e3, "ms"] : [seconds, "s"];
  const digits = scaled[0] >= 100 ? 0 : scaled[0] >= 10 ? 1 : 2;
  return `${scaled[0].toFixed(digits)} ${scaled[1]}`;
}

/** A length of time, such as `3 d 4 h` or `12 s`. */
export function span(seconds) {
  const total = Math.max(0, Math.round(seconds));
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => total >= size);
  if (first < 0) return "0 s";
  const [size, unit] = parts[first];
  const whole = Math.floor(total / size);
  const next = parts[first + 1];
  const rest = next ? Math.floor((total % size) / next[0]) : 0;
  return rest > 0 ? `${whole} ${unit} ${rest} ${next[1]}` : `${whole} ${unit}`;
}

/** Bytes, such as `12.3 MiB`. */
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[at]}`;
}

/** A moment, as date and time of this browser's clock. */
export function moment(unixSeconds) {
  if (unixSeconds === null || unixSeconds === undefined) return "–";
  const at = new Date(unixSeconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ` +
    `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** A share of a whole in percent. */
export function percent(part, whole) {
  if (!whole) return "0 %";
  const share = (part / whole) * 100;
  return share > 0 && share < 0.1 ? "<0.1 %" : `${share.toFixed(share < 10 ? 1 : 0)} %`;
}
