// Upstreams and their endpoints: who is well, who is left out and why.

import { ask, poll } from "/page/ask.js";
import { badge, duration, el, fill, metricHref, metricLink, name, rate, section, setText, short, table } from "/page/dom.js";

const KINDS = { healthy: "good", unknown: "", unhealthy: "bad", ejected: "bad" };

const PAGE = 50;

/** Counts by reason in one line. */
function reasons(counts) {
  return counts.map(({ reason, count }) => `${reason.replaceAll("_", " ")} ${short(count)}`).join(", ") || "none";
}

export function origins(main, parameters, signal, frame) {
  let offset = 0;
  const search = el("input", { type: "search", value: parameters.get("search") ?? "", placeholder: "Search by name or address", "aria-label": "Search by name or address", maxlength: "1000", oninput: () => {
    offset = 0;
    frame.keep("origins", new URLSearchParams(search.value ? { search: search.value } : {}));
    look();
  } });
  const summary = el("p", { class: "note", role: "status" });
  const list = el("div", {});
  const move = (by) => () => { offset = Math.max(0, offset + by); look(); };
  const less = el("button", { type: "button", hidden: true, onclick: move(-PAGE) }, "Previous");
  const more = el("button", { type: "button", hidden: true, onclick: move(PAGE) }, "Next");
  fill(main, el("div", { class: "head" }, el("h1", {}, "Origins"), el("span", { class: "room" }), search), summary, list, el("p", {}, less, " ", more));

  let asking = new AbortController();
  signal.addEventListener("abort", () => asking.abort(), { once: true });
  async function look() {
    asking.abort();
    asking = new AbortController();
    const question = new URLSearchParams({ search: search.value, offset, limit: PAGE });
    try {
      const [found, now] = await Promise.all([
        ask(`/origins?${question}`, { signal: asking.signal }),
        ask("/now?of=upstreams&limit=500", { signal: asking.signal }),
      ]);
      show(found, new Map(now.rows.map((row) => [row.upstream, row])));
    } catch (error) {
      frame.failed(error);
    }
  }

  function show(view, rates) {
    setText(summary, `${view.endpoints.toLocaleString("en")} endpoints, ${view.out === 0 ? "none" : view.out.toLocaleString("en")} left out; ${view.found.toLocaleString("en")} upstreams`);
    less.hidden = view.offset === 0;
    more.hidden = view.offset + view.upstreams.length >= view.found;
    // A table that is scrolled, or holds the focus, stays as it is for a moment.
    if (list.contains(document.activeElement)) {
      const places = [...list.querySelectorAll("a, [tabindex]")];
      const at = places.indexOf(document.activeElement);
      fill(list, view.upstreams.map((it) => upstream(it, rates.get(it.upstream))));
      [...list.querySelectorAll("a, [tabindex]")][at]?.focus({ preventScroll: true });
    } else {
      fill(list, view.upstreams.map((it) => upstream(it, rates.get(it.upstream))));
    }
  }

  poll(look, 1000, signal);
}

function upstream(view, now) {
  const labels = { upstream: view.upstream };
  const fact = (label, metric, value) => el("div", {}, el("dt", {}, metricLink(label, metric, labels)), el("dd", {}, value));
  const rows = view.endpoints.map((it) => {
    const one = { ...labels, endpoint: it.address };
    const figure = (metric, text) => el("a", { class: "figure", href: metricHref(metric, one) }, text);
    return [
      name(it.address),
      el("span", {}, badge(KINDS[it.state] ?? "", it.state), it.reason && el("span", { class: "why" }, " ", it.reason),
        it.share < 1 && el("span", { class: "why" }, ` starting, ${Math.round(it.share * 100)} %`)),
      figure("sallyport_upstream_requests_active", short(it.in_flight)),
      figure("sallyport_upstream_requests_total", short(it.requests)),
      figure("sallyport_upstream_errors_total", short(it.errors)),
      figure("sallyport_upstream_connect_failures_total", short(it.connect_failures)),
      figure("sallyport_upstream_ejections_total", reasons(it.ejections)),
    ];
  });
  const columns = ["Endpoint", "State", { label: "In flight", number: true }, { label: "Attempts", number: true, wide: true },
    { label: "Errors", number: true }, { label: "No connection", number: true, wide: true }, { label: "Ejections", wide: true }];
  return section(name(view.upstream),
    view.panicking && el("p", { class: "notice warn" }, "So few are healthy that all are used."),
    el("dl", { class: "facts" },
      fact("Attempts/s", "sallyport_upstream_requests_total", rate(now?.requests_per_s)),
      fact("Errors/s", "sallyport_upstream_errors_total", rate(now?.errors_per_s)),
      fact("p50", "sallyport_upstream_request_duration_seconds", duration(now?.p50_s)),
      fact("p99", "sallyport_upstream_request_duration_seconds", duration(now?.p99_s)),
      fact("Retries", "sallyport_retries_total", reasons(view.retries)),
      fact("Turned away", "sallyport_upstream_limited_total", reasons(view.limited)),
      view.queue && fact("Waiting", "sallyport_queue_length", `${short(view.queue.length)}; turned away: ${reasons(view.queue.rejected)}`),
      el("div", {}, el("dt", {}, "Policy"), el("dd", {}, view.policy.replaceAll("_", " "))),
      el("div", {}, el("dt", {}, "Health checks"), el("dd", {}, view.probed ? `${view.healthy} of ${view.endpoints.length + view.more_endpoints} healthy` : "none"))),
    table(`Endpoints of ${view.upstream}`, columns, rows, "It has no endpoints."),
    view.more_endpoints > 0 && el("p", { class: "note" }, `${view.more_endpoints.toLocaleString("en")} more endpoints are not shown.`));
}
