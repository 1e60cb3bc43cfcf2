// The configuration in force, what each edit changed, and which were refused and why.

import { ask, askText, poll } from "/page/ask.js";
import { badge, el, fill, metricLink, moment, section, span, table } from "/page/dom.js";

const SHOWN_MAX = 200_000;

export function configuration(main, parameters, signal, frame) {
  const head = el("div", {}), versions = el("div", {}), file = el("div", {});
  fill(main, el("div", { class: "head" }, el("h1", {}, "Configuration")), head,
    section("Edits", versions),
    section("The effective file", el("p", { class: "note" }, "All files as one, with every default; secrets are left out."), file));
  const button = el("button", { type: "button", onclick: showFile }, "Show it");
  fill(file, button);

  async function showFile() {
    try {
      const text = await askText("/config?format=yaml", { signal });
      const cut = text.length > SHOWN_MAX;
      const pre = el("pre", { tabindex: "0", role: "region", "aria-label": "The effective file", class: "long" }, cut ? text.slice(0, SHOWN_MAX) : text);
      fill(file, cut && el("p", { class: "note" }, "These are the first 200,000 characters. ",
        el("button", { type: "button", onclick: (event) => { pre.textContent = text; event.currentTarget.parentElement.remove(); } }, "Show all")), pre);
    } catch (error) {
      frame.failed(error);
    }
  }

  let seen = null;
  poll(async () => {
    try {
      const entries = await ask("/config/history", { signal });
      const latest = JSON.stringify(entries.map((it) => [it.version, it.at_unix_s]));
      if (latest === seen) return;
      seen = latest;
      show(entries);
    } catch (error) {
      frame.failed(error);
    }
  }, 1000, signal);

  function show(entries) {
    const inForce = entries.find((it) => it.result === "applied");
    const isRefused = entries[0]?.result === "refused";
    fill(head,
      isRefused && el("div", { class: "notice bad", role: "alert" }, el("strong", {}, "The latest edit was refused."), " What was in force before is.", problems(entries[0])),
      el("dl", { class: "facts" },
        el("div", {}, el("dt", {}, metricLink("Version", "sallyport_config_version")), el("dd", {}, inForce ? String(inForce.version) : "–")),
        el("div", {}, el("dt", {}, metricLink("In force since", "sallyport_config_last_reload_timestamp_seconds")), el("dd", {}, inForce ? moment(inForce.at_unix_s) : "–")),
        el("div", {}, el("dt", {}, metricLink("Files on disk", "sallyport_config_last_reload_successful")), el("dd", {}, isRefused ? badge("bad", "refused") : badge("good", "in force"))),
        el("div", {}, el("dt", {}, "SHA-256"), el("dd", { class: "code" }, inForce?.sha256?.slice(0, 16) ?? "–"))));
    fill(versions, el("ol", { class: "edits" }, entries.map((entry, at) => el("li", {}, edit(entry, at === 0)))));
  }
}

const WHY = { start: "at the start", edit: "a file was saved", asked: "asked for by SIGHUP" };

function edit(entry, isOpen) {
  const isApplied = entry.result === "applied";
  const count = isApplied ? (entry.differences?.length ?? 0) + (entry.more_differences ?? 0) : entry.problems?.length ?? 0;
  const what = isApplied
    ? entry.differences ? `${count} ${count === 1 ? "change" : "changes"}` : "the first that is known"
    : `${count} ${count === 1 ? "problem" : "problems"}`;
  const age = entry.at_unix_s ? `${span(Date.now() / 1000 - entry.at_unix_s)} ago` : "";
  const summary = el("summary", {}, isApplied ? badge("good", `version ${entry.version}`) : badge("bad", "refused"), " ",
    el("span", { class: "when" }, moment(entry.at_unix_s)), " ", el("span", { class: "note" }, `${age}, ${WHY[entry.reason] ?? entry.reason}: ${what}`));
  return el("details", { open: isOpen && count > 0 }, summary, isApplied ? differences(entry) : problems(entry));
}

function problems(entry) {
  return el("ul", { class: "problems" }, (entry.problems ?? []).map((text) => el("li", {}, el("bdi", {}, text))));
}

function differences(entry) {
  if (!entry.differences) return el("p", { class: "note" }, "What it changed is not known any more.");
  if (entry.differences.length === 0) return el("p", { class: "note" }, "Nothing but comments or order.");
  const value = (text, kind) => (text === undefined ? el("span", { class: "note" }, kind) : el("bdi", { class: "code" }, text));
  return el("div", {}, table("What it changed", ["Where", "Before", "After"], entry.differences.map((it) => [
    el("bdi", { class: "code" }, it.path), value(it.before, "was not there"), value(it.after, "is gone"),
  ])), entry.more_differences > 0 && el("p", { class: "note" }, `${entry.more_differences.toLocaleString("en")} more are not kept.`));
}
