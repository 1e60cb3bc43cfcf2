// The outer door: what the classifier drops and why, who sends most, and who is shut out.

import { ask, poll } from "/page/ask.js";
import { chart, latest } from "/page/chart.js";
import { badge, el, fill, metricHref, name, rate, section, setText, short, span, table, tile } from "/page/dom.js";

const STATES = {
  fresh: ["good", "at work"],
  stale: ["bad", "nobody tends the maps"],
  absent: ["warn", "no maps are pinned"],
  none: ["", "not configured"],
};

const COLOURS = ["--red", "--amber", "--violet", "--blue", "--green"];

const VERDICTS_MAX = 500;

const words = (reason) => reason.replaceAll("_", " ");

export function door(main, parameters, signal, frame) {
  const state = el("p", {});
  const tiles = {
    dropped: tile("Packets dropped", "sallyport_classifier_dropped_packets_total"),
    verdicts: tile("Verdicts", "sallyport_verdicts_active"),
    refused: tile("Connections refused", "sallyport_verdict_connections_refused_total"),
  };
  const drops = el("div", {}), details = el("div", {}), verdicts = el("div", {});
  let counters = { dropped: null, at: 0 };
  const search = el("input", { type: "search", placeholder: "Search by address or reason", "aria-label": "Search verdicts by address or reason", oninput: () => showVerdicts() });
  const told = el("p", { class: "note", role: "status" });
  fill(main, el("div", { class: "head" }, el("h1", {}, "Outer door")), state,
    el("div", { class: "tiles" }, Object.values(tiles).map((it) => it.element)),
    section("Shut out", el("div", { class: "tools" }, search, told), verdicts), drops, details);

  let listed = [];
  const lookAtVerdicts = async () => {
    try {
      listed = await ask("/verdicts", { signal });
      listed.forEach((it) => { it.until = Date.now() / 1000 + it.seconds_left; });
      tiles.verdicts.set(short(listed.length));
      showVerdicts();
    } catch (error) {
      frame.failed(error);
    }
  };

  function showVerdicts() {
    const wanted = search.value.trim().toLowerCase();
    const found = listed.filter((it) => it.address.toLowerCase().includes(wanted) || it.reason.includes(wanted));
    const shown = found.slice(0, VERDICTS_MAX);
    setText(told, found.length > shown.length ? `${found.length.toLocaleString("en")}, of which ${shown.length} are shown` : `${found.length.toLocaleString("en")}`);
    const focused = document.activeElement?.dataset?.address;
    const row = (it) => [name(it.address), words(it.reason), span(it.until - Date.now() / 1000), el("button", {
      type: "button", "data-address": it.address, "aria-label": `Lift the verdict on ${it.address}`,
      disabled: !frame.mayChange(), title: frame.mayChange() ? null : "This token is for reading", onclick: () => lift(it.address),
    }, "Lift")];
    fill(verdicts, table("Verdicts", ["Source", "Because", { label: "Time left", number: true }, "Let in again"], shown.map(row), "Nobody is shut out."));
    if (focused) [...verdicts.querySelectorAll("button")].find((it) => it.dataset.address === focused)?.focus({ preventScroll: true });
  }

  async function lift(address) {
    try {
      await ask(`/verdicts/${encodeURIComponent(address)}`, { method: "DELETE", signal });
      frame.say(`${address} is let in again.`, "good");
    } catch (error) {
      frame.failed(error);
    }
    await lookAtVerdicts();
  }

  let plot = null;
  let reasons = "";
  signal.addEventListener("abort", () => plot?.end(), { once: true });

  function showDrops(past) {
    const ranked = past.dropped.map((it) => ({ ...it, sum: it.packets_per_s.reduce((sum, one) => sum + one, 0) })).sort((one, other) => other.sum - one.sum);
    const top = ranked.slice(0, COLOURS.length);
    const key = top.map((it) => it.reason).join();
    if (key !== reasons) {
      reasons = key;
      plot?.end();
      plot = top.length > 0 ? chart("Packets dropped a second, by reason", top.map((it, at) => ({ label: words(it.reason), colour: COLOURS[at] })), rate,
        (data) => top.map((it, at) => `${words(it.reason)} ${rate(latest(data[at + 1]))} a second`).join(", ")) : null;
      fill(drops, plot && section("Drops", plot.element));
    }
    const last = past.at_unix_s.at(-1) ?? 0;
    plot?.show([past.at_unix_s, ...top.map((it) => it.packets_per_s)], Math.min(past.at_unix_s[0] ?? 0, last - 300), last);
  }

  poll(async () => {
    try {
      const view = await ask("/door", { signal });
      const [kind, text] = STATES[view.state] ?? ["", view.state];
      fill(state, "Classifier: ", badge(kind, text), " ",
        view.state === "fresh" && `on ${view.interfaces_attached} of ${view.interfaces} interfaces. `,
        view.enforces_verdicts ? "Verdicts drop packets before the network stack sees them." : "Verdicts close connections when they are accepted.");
      tiles.refused.set(short(view.connections_refused));
      showDrops(view.history);
      if (view.counters) showDetails(view);
      else tiles.dropped.set("–");
    } catch (error) {
      frame.failed(error);
    }
  }, 2000, signal);
  poll(lookAtVerdicts, 2000, signal);

  function showDetails(view) {
    const dropped = view.counters.reduce((sum, it) => sum + it.dropped_packets, 0);
    const at = performance.now() / 1000;
    if (counters.dropped !== null && at > counters.at) tiles.dropped.set(`${rate(Math.max(0, dropped - counters.dropped) / (at - counters.at))}/s`);
    counters = { dropped, at };
    const figure = (metric, reason, text) => el("a", { class: "figure", href: metricHref(metric, { reason }) }, text);
    fill(details,
      section("Sources that send most", table("Sources", ["Source", { label: "SYN/s", number: true }, "Zone", "Network", { label: "Screens", wide: true }, { label: "Seen", number: true, wide: true }], view.sources.map((it) => [
        name(it.address), short(it.syn_per_s), name(it.zone ?? "–"), name(it.network ?? "–"), it.screens.map(words).join(", ") || "none", `${span(it.last_seen_s)} ago`,
      ]), "No source is known.")),
      section("Packets, by what was decided", table("Counters", ["Reason", { label: "Passed", number: true }, { label: "Dropped", number: true }], view.counters.filter((it) => it.packets + it.dropped_packets > 0).map((it) => [
        words(it.reason), figure("sallyport_classifier_packets_total", it.reason, short(it.packets)),
        figure("sallyport_classifier_dropped_packets_total", it.reason, short(it.dropped_packets)),
      ]), "None was seen.")),
      section("Zones", table("Zones", ["Zone", { label: "Interface", number: true }, { label: "VLAN", number: true }, "Drops", { label: "Only counts", wide: true }], view.zones.map((it) => [
        name(it.zone), it.ifindex, it.vlan || "–", it.dropping.map(words).join(", ") || "nothing", it.counting.map(words).join(", ") || "nothing",
      ]), "There are none.")),
      section("Networks", table("Networks", ["Network", "Action", { label: "Prefixes", number: true }], view.networks.map((it) => [name(it.network), it.action, short(it.prefixes)]), "There are none.")));
  }
}
