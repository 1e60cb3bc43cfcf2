// Why a request goes where it goes. The address keeps the question.

import { ask } from "/page/ask.js";
import { badge, el, fill, name, section, table } from "/page/dom.js";

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

// Those that may be there more than once are lines of a text.
const FIELDS = [
  { key: "host", label: "Host", required: true, broad: true, example: "shop.example.com" },
  { key: "path", label: "Path, with its query", required: true, broad: true, example: "/cart?x=1", usual: "/" },
  { key: "method", label: "Method", usual: "GET", list: METHODS },
  { key: "client", label: "Client's address", example: "192.0.2.10" },
  { key: "sni", label: "Name in the TLS handshake (SNI)", example: "shop.example.com" },
  { key: "listener", label: "Listener", example: "the first one" },
  { key: "header", label: "Header fields, a line each", lines: true, example: "x-user: ann" },
  { key: "hint", label: "Hints of the classifier, a line each", lines: true, example: "network=office" },
];

/** The name of a policy, without its settings. */
function policy(text) {
  return text.split(/[\s{(]/)[0].replaceAll(/(?<=.)([A-Z])/g, " $1").toLowerCase();
}

export function explain(main, parameters, signal, frame) {
  const fields = new Map();
  const answer = el("div", { "aria-live": "polite" });
  const input = (field) => {
    const id = `ask-${field.key}`;
    const given = parameters.getAll(field.key);
    const common = { id, name: field.key, placeholder: field.example, required: field.required, autocomplete: "off", spellcheck: "false" };
    const element = field.lines
      ? el("textarea", { ...common, rows: "2" }, given.join("\n"))
      : el("input", { ...common, type: "text", value: given[0] ?? field.usual ?? "", list: field.list ? `${id}-list` : null });
    fields.set(field.key, element);
    return el("div", { class: field.lines || field.broad ? "field broad" : "field" }, el("label", { for: id }, field.label), element,
      field.list && el("datalist", { id: `${id}-list` }, field.list.map((it) => el("option", { value: it }))));
  };

  const question = () => {
    const asked = new URLSearchParams();
    for (const field of FIELDS) {
      const text = fields.get(field.key).value;
      const values = field.lines ? text.split("\n") : [text];
      for (const value of values) if (value.trim()) asked.append(field.key, value.trim());
    }
    return asked;
  };

  async function look() {
    const asked = question();
    frame.keep("explain", asked);
    try {
      show(await ask(`/explain?${asked}`, { signal }));
    } catch (error) {
      if (error.name !== "AbortError") fill(answer, el("p", { class: "notice bad" }, error.message));
    }
  }

  function show(found) {
    const step = (label, value, note) => value !== null && value !== undefined && el("li", {}, el("span", { class: "note" }, label), " ", value, note && el("span", { class: "why" }, " ", note));
    const split = found.split.length > 0 ? `one of ${found.split.map(([upstream, weight]) => `${upstream} (${weight})`).join(", ")}` : null;
    const words = { forward: "forward to an upstream", redirect: "redirect", respond: "answer here" };
    fill(answer, section("The decision",
      found.error && el("p", { class: "notice bad" }, found.error),
      el("ol", { class: "steps" },
        step("listener", found.listener && name(found.listener)),
        step("certificate", found.certificate && name(found.certificate)),
        step("host, as it is matched", found.host && name(found.host)),
        step("path, as it is matched", found.path && name(found.path)),
        step("virtual host", found.virtual_host && name(found.virtual_host)),
        step("route", found.route && el("a", { href: `#now?${new URLSearchParams({ virtual_host: found.virtual_host, route: found.route })}` }, name(found.route))),
        found.filters.length > 0 && step("filters", found.filters.join(" → ")),
        step("then", found.action && (words[found.action] ?? found.action)),
        step("upstream", found.upstream && name(found.upstream), split),
        step("endpoint", found.endpoint && name(found.endpoint), found.policy && `by ${policy(found.policy)}`),
        step("status", found.status && badge(found.status >= 500 ? "bad" : found.status >= 400 ? "warn" : "good", found.status)),
        step("location", found.location && name(found.location)))),
    section("Why not the routes before it",
      table("Routes that were passed over", ["Route", "Because"], found.passed_over.map((it) => [name(it.route), name(it.because)]), "There are none before it."),
      found.passed_over_more > 0 && el("p", { class: "note" }, `${found.passed_over_more.toLocaleString("en")} more were passed over.`)));
  }

  fill(main, el("div", { class: "head" }, el("h1", {}, "Explain")),
    el("p", { class: "note" }, "What becomes of a request under the configuration in force. Nothing is sent. The address of this page keeps the question."),
    el("form", { class: "question", onsubmit: (event) => { event.preventDefault(); look(); } },
      FIELDS.map(input), el("div", { class: "field broad" }, el("button", { type: "submit", class: "primary" }, "Explain"))),
    answer);
  if (parameters.has("host") && parameters.has("path")) look();
}
