// Clients' connections by listener and worker, and the certificates that they are shown.

import { ask, poll } from "/page/ask.js";
import { badge, bytes, el, fill, metricHref, moment, name, section, setText, short, span, table } from "/page/dom.js";

export function connections(main, parameters, signal, frame) {
  const body = el("div", {});
  fill(main, el("div", { class: "head" }, el("h1", {}, "Connections")), body);
  let last = null;
  poll(async () => {
    try {
      const [view, process] = await Promise.all([ask("/connections", { signal }), ask("/process", { signal })]);
      const at = performance.now() / 1000;
      const cpu = last && process.cpu_s !== null ? (process.cpu_s - last.cpu_s) / (at - last.at) : null;
      last = { cpu_s: process.cpu_s, at };
      show(view, process, cpu);
    } catch (error) {
      frame.failed(error);
    }
  }, 2000, signal);

  const listeners = el("div", {}), workers = el("div", {}), process = el("div", {});
  fill(body, section("Listeners", listeners), section("Workers", workers), section("Process", process));

  function show(view, figures, cpu) {
    const rows = view.listeners.map((it) => {
      const figure = (metric, text) => el("a", { class: "figure", href: metricHref(metric, { listener: it.listener }) }, text);
      const refused = it.refused.map(({ reason, count }) => `${reason.replaceAll("_", " ")} ${short(count)}`).join(", ") || "none";
      const good = it.handshakes.filter((one) => one.result === "success").reduce((sum, one) => sum + one.count, 0);
      const bad = it.handshakes.filter((one) => one.result !== "success").map((one) => `${one.result.replaceAll("_", " ")} ${short(one.count)}`);
      return [name(it.listener), el("span", { class: "code" }, it.address), it.protocols.map((one) => one.replace("http", "HTTP/")).join(", ") + (it.tls ? ", TLS" : ""),
        figure("sallyport_connections_active", `${short(it.open)} of ${short(it.open_max)}`),
        figure("sallyport_connections_total", short(it.total)),
        figure("sallyport_connections_refused_total", refused),
        it.tls ? figure("sallyport_tls_handshakes_total", [`${short(good)} good`, ...bad].join(", ")) : "–"];
    });
    fill(listeners, table("Listeners", ["Listener", "Address", { label: "Speaks", wide: true }, { label: "Open", number: true }, { label: "So far", number: true, wide: true }, "Refused", { label: "Handshakes", wide: true }], rows));
    const largest = Math.max(1, ...view.workers.map((it) => it.connections));
    fill(workers, table("Workers", ["Worker", { label: "Connections", number: true }, "Share"], view.workers.map((it) => [
      `${it.worker}`,
      el("a", { class: "figure", href: metricHref("sallyport_worker_requests_active") }, short(it.connections)),
      el("meter", { min: "0", max: String(largest), value: String(it.connections), "aria-label": `Connections of worker ${it.worker}` }),
    ])));
    const fact = (label, metric, value) => el("div", {}, el("dt", {}, el("a", { class: "metric", href: metricHref(metric) }, label)), el("dd", {}, value));
    fill(process, el("dl", { class: "facts" },
      fact("CPUs", "process_cpu_seconds_total", cpu === null ? "–" : cpu.toFixed(2)),
      fact("Memory", "process_resident_memory_bytes", bytes(figures.resident_bytes)),
      fact("Descriptors", "process_open_fds", `${short(figures.descriptors)} of ${short(figures.descriptors_max)}`),
      fact("Threads", "process_threads", short(figures.threads)),
      fact("Started", "process_start_time_seconds", moment(figures.started_unix_s)),
      fact("Version", "sallyport_build_info", figures.commit ? `${figures.version} (${figures.commit})` : figures.version)));
  }
}

export function certificates(main, parameters, signal, frame) {
  const search = el("input", { type: "search", placeholder: "Search by name", "aria-label": "Search by name", maxlength: "1000", oninput: () => look() });
  const summary = el("p", { class: "note", role: "status" });
  const list = el("div", {});
  fill(main, el("div", { class: "head" }, el("h1", {}, "Certificates"), el("span", { class: "room" }), search), summary, list);

  async function look() {
    try {
      show(await ask(`/certificates?${new URLSearchParams({ search: search.value, limit: 500 })}`, { signal }));
    } catch (error) {
      frame.failed(error);
    }
  }

  function left(it) {
    const kind = it.days_left < 7 ? "bad" : it.days_left < 21 ? "warn" : "good";
    const text = it.days_left < 0 ? `expired ${span(-it.days_left * 86400)} ago` : `${span(it.days_left * 86400)} left`;
    return badge(kind, text);
  }

  function from(it) {
    if (it.source === "file") return el("span", { class: "code" }, it.from);
    if (it.source === "acme") return el("span", {}, "ACME, account ", name(it.from), " ", badge(it.acme === "issued" ? "good" : "warn", it.acme));
    return "made here, self-signed";
  }

  function show(view) {
    setText(summary, `${view.found.toLocaleString("en")} certificates${view.found > view.certificates.length ? `, of which ${view.certificates.length} are shown` : ""}; those that expire first in front.`);
    fill(list, table("Certificates", ["Names", "Time left", { label: "Until", wide: true }, { label: "Listener", wide: true }, "From", { label: "Issuer", wide: true }], view.certificates.map((it) => [
      el("span", {}, it.names.map((one, at) => [at > 0 && ", ", name(one)]), it.default && [" ", badge("", "default")]),
      el("a", { class: "figure", href: metricHref("sallyport_tls_certificate_expiry_seconds", { listener: it.listener }) }, left(it)),
      moment(it.not_after_unix_s), name(it.listener), from(it), name(it.issuer ?? "–"),
    ]), "No listener has a certificate."));
  }

  poll(look, 10000, signal);
}
