// One metric: what it says, what it is now, and a rule that alerts on it.

import { askText } from "/page/ask.js";
import { badge, el, fill, section } from "/page/dom.js";

const SAMPLES_MAX = 200;

/** A label's value, as PromQL has it. */
function quoted(value) {
  return `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`;
}

/** The selector of a metric with labels. */
function selector(metric, labels, more = []) {
  const all = [...Object.entries(labels).map(([key, value]) => `${key}=${quoted(value)}`), ...more];
  return all.length > 0 ? `${metric}{${all.join(", ")}}` : metric;
}

/** What to ask Prometheus. */
function expression(metric, kind, labels) {
  if (kind === "histogram") {
    return `histogram_quantile(0.99, sum by (le) (rate(${selector(`${metric}_bucket`, labels)}[5m])))`;
  }
  if (kind === "counter") {
    const more = metric === "sallyport_route_errors_total" ? ['kind!="4xx"'] : [];
    return `sum(rate(${selector(metric, labels, more)}[5m]))`;
  }
  return selector(metric, labels);
}

/** A rule to paste. The threshold is for people to choose. */
function rule(metric, kind, expr) {
  const what = kind === "histogram" ? "> 0.5  # seconds" : kind === "counter" ? "> 1  # a second" : metric.endsWith("_healthy") ? "== 0" : "> 100";
  return `groups:
  - name: sallyport
    rules:
      - alert: ${metric.split("_").map((word) => word[0]?.toUpperCase() + word.slice(1)).join("")}
        expr: |
          ${expr} ${what}
        for: 5m
`;
}

/** A text to copy. */
export function copyable(text, label) {
  const said = el("span", { class: "note", role: "status" });
  return el("div", { class: "copyable" },
    el("pre", { tabindex: "0", role: "region", "aria-label": label }, text),
    el("button", { type: "button", onclick: async () => {
      try {
        await navigator.clipboard.writeText(text);
        fill(said, "Copied.");
      } catch {
        fill(said, "The browser does not allow it: select the text.");
      }
    } }, "Copy"), said);
}

export async function metric(main, parameters, signal, frame) {
  const metricName = parameters.get("name") ?? "";
  const labels = Object.fromEntries([...parameters].filter(([key]) => key !== "name"));
  const body = el("div", {}, el("p", { class: "note" }, "Asking…"));
  fill(main, el("div", { class: "head" }, el("h1", { class: "code" }, metricName), el("span", { class: "room" }),
    el("button", { type: "button", onclick: () => history.back() }, "Back")), body);
  if (!/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(metricName)) {
    fill(body, el("p", { class: "notice bad" }, "That is no metric's name."));
    return;
  }
  let text;
  try {
    text = await askText(`/metrics?${new URLSearchParams({ "name[]": metricName })}`, { signal });
  } catch (error) {
    frame.failed(error);
    return;
  }
  const lines = text.split("\n").filter(Boolean);
  const help = lines.find((line) => line.startsWith("# HELP "))?.split(" ").slice(3).join(" ");
  const kind = lines.find((line) => line.startsWith("# TYPE "))?.split(" ").at(-1) ?? (metricName.endsWith("_total") ? "counter" : undefined);
  const wanted = Object.entries(labels).map(([key, value]) => `${key}=${quoted(value)}`);
  const samples = lines.filter((line) => !line.startsWith("#") && wanted.every((it) => line.includes(it)));
  const expr = expression(metricName, kind, labels);
  const shown = samples.slice(0, SAMPLES_MAX);
  fill(body,
    el("p", {}, help ?? (metricName.startsWith("sallyport_classifier_") ? "The classifier's own metrics listener serves this one." : "Nothing is counted under this name yet."), " ", kind && badge("", kind)),
    section("Ask Prometheus", copyable(expr, "Expression")),
    section("Alert on it", copyable(rule(metricName, kind, expr), "Rule")),
    section("Now", el("p", { class: "note" }, `${samples.length.toLocaleString("en")} samples${samples.length > shown.length ? `, of which ${shown.length} are shown` : ""}.`),
      el("pre", { tabindex: "0", role: "region", "aria-label": "Samples" }, shown.join("\n") || "none")));
}
