// What happens now: figures of the last seconds, an hour of charts, and a table of everything there is.

import { ask, stream } from "/page/ask.js";
import { chart, latest, most } from "/page/chart.js";
import { duration, el, fill, name, percent, rate, section, setText, short, tile } from "/page/dom.js";

const ROW_PX = 34;
const OVERSCAN = 15;
const RANGES = [[300, "5 min"], [900, "15 min"], [3600, "1 h"]];
const REQUESTS = "sallyport_route_requests_total";
const ERRORS = "sallyport_route_errors_total";
const TIMES = "sallyport_route_request_duration_seconds";
const ACTIVE = "sallyport_route_requests_active";

// Of upstreams, attempts are counted.
const OF_UPSTREAMS = {
  [REQUESTS]: "sallyport_upstream_requests_total",
  [ERRORS]: "sallyport_upstream_errors_total",
  [TIMES]: "sallyport_upstream_request_duration_seconds",
  [ACTIVE]: "sallyport_upstream_requests_active",
};

const COLUMNS = [
  { key: "name", label: "Name" },
  { key: "requests", label: "Requests/s", metric: REQUESTS, of: (row) => rate(row.requests_per_s) },
  { key: "errors", label: "Errors/s", metric: ERRORS, of: (row) => rate(row.errors_per_s), bad: (row) => row.errors_per_s > 0 },
  { key: "client_errors", label: "4xx/s", metric: ERRORS, of: (row) => rate(row.client_errors_per_s), wide: true },
  { key: "p50", label: "p50", metric: TIMES, of: (row) => duration(row.p50_s), wide: true },
  { key: "p99", label: "p99", metric: TIMES, of: (row) => duration(row.p99_s) },
  { key: "p999", label: "p99.9", metric: TIMES, of: (row) => duration(row.p999_s), wide: true },
  { key: "active", label: "In flight", metric: ACTIVE, of: (row) => short(row.active), wide: true },
];

/** The labels that a row has in metrics. */
function labelsOf(row) {
  if (row.upstream !== undefined) return { upstream: row.upstream };
  return row.route === undefined ? { virtual_host: row.virtual_host } : { virtual_host: row.virtual_host, route: row.route };
}

export function now(main, parameters, signal, frame) {
  const asked = {
    of: parameters.get("of") ?? "routes",
    search: parameters.get("search") ?? "",
    sort: parameters.get("sort") ?? "requests",
    order: parameters.get("order") ?? "desc",
    range: Number(parameters.get("range") ?? 300),
  };
  const selected = Object.fromEntries(["virtual_host", "route", "upstream"].filter((it) => parameters.has(it)).map((it) => [it, parameters.get(it)]));
  const isSelected = Object.keys(selected).length > 0;
  const metric = (base) => (selected.upstream === undefined ? base : OF_UPSTREAMS[base]);

  const tiles = {
    requests: tile("Requests/s", metric(REQUESTS), selected),
    errors: tile("Errors/s", metric(ERRORS), selected),
    client: tile("4xx/s", metric(ERRORS), selected),
    p50: tile("p50", metric(TIMES), selected),
    p99: tile("p99", metric(TIMES), selected),
    p999: tile("p99.9", metric(TIMES), selected),
    active: tile("In flight", metric(ACTIVE), selected),
  };

  const traffic = chart("Requests and errors a second",
    [{ label: "requests", colour: "--blue", fill: "--blue-fill" }, { label: "errors", colour: "--red", fill: "--red-fill" }], rate,
    ([, requests, errors]) => `Now ${rate(latest(requests))} requests and ${rate(latest(errors))} errors a second; at most ${rate(most(requests))} and ${rate(most(errors))}.`);
  const times = chart("Latency",
    [{ label: "p50", colour: "--green" }, { label: "p99", colour: "--amber" }, { label: "p99.9", colour: "--violet" }], duration,
    ([, p50, p99, p999]) => `Now p50 ${duration(latest(p50))}, p99 ${duration(latest(p99))}, p99.9 ${duration(latest(p999))}.`,
    { logarithmic: true });
  signal.addEventListener("abort", () => { traffic.end(); times.end(); }, { once: true });

  // Seconds, requests, errors, p50, p99, p99.9.
  let columns = [[], [], [], [], [], []];
  let paused = false;

  const keep = () => {
    const kept = new URLSearchParams();
    const usual = { of: "routes", search: "", sort: "requests", order: "desc", range: 300 };
    for (const [key, value] of Object.entries(asked)) if (value !== usual[key]) kept.set(key, value);
    for (const [key, value] of Object.entries(selected)) kept.set(key, value);
    frame.keep("now", kept);
  };

  const draw = () => {
    const last = columns[0].at(-1) ?? Date.now() / 1000;
    // In the first minutes there is not more to see than there is.
    const known = Math.max(60, last - (columns[0][0] ?? last));
    const first = last - Math.min(asked.range, known);
    const from = columns[0].findIndex((at) => at >= first);
    const cut = columns.map((column) => (from > 0 ? column.slice(Math.max(0, from - 1)) : column));
    traffic.show([cut[0], cut[1], cut[2]], first, last);
    times.show([cut[0], cut[3], cut[4], cut[5]], first, last);
  };

  const add = (at, figures) => {
    const point = [at, figures.requests_per_s, figures.errors_per_s, figures.p50_s, figures.p99_s, figures.p999_s];
    if (columns[0].length > 0 && at <= columns[0].at(-1)) return;
    columns.forEach((column, index) => {
      column.push(point[index]);
      if (column.length > 4000) column.shift();
    });
  };

  const showTiles = (figures) => {
    tiles.requests.set(rate(figures.requests_per_s));
    const share = figures.errors_per_s > 0 && figures.requests_per_s > 0 ? percent(figures.errors_per_s, figures.requests_per_s) : "";
    tiles.errors.set(rate(figures.errors_per_s), share, figures.errors_per_s > 0 ? "bad" : "");
    tiles.client.set(rate(figures.client_errors_per_s));
    tiles.p50.set(duration(figures.p50_s));
    tiles.p99.set(duration(figures.p99_s));
    tiles.p999.set(duration(figures.p999_s));
    tiles.active.set(short(figures.active));
  };

  const rows = rowTable(asked, () => { keep(); look(); }, () => look(), signal);

  // One stream for what is seen; a new one where something else is.
  let following = new AbortController();
  let followed = "";
  signal.addEventListener("abort", () => following.abort(), { once: true });
  const query = () => new URLSearchParams({
    of: asked.of, search: asked.search, sort: asked.sort, order: asked.order,
    offset: rows.offset(), limit: rows.limit(), ...selected,
  });
  const take = (reading) => {
    const figures = isSelected ? reading.selected : reading.all;
    if (figures) add(reading.at_unix_s, figures);
    if (paused) return;
    refused.hidden = !reading.refused;
    if (figures) showTiles(figures);
    else setText(gone, "There is no such thing in the configuration in force.");
    // What was asked for before the view changed is of no use.
    if (followed === String(query())) rows.show(reading);
    draw();
  };
  const follow = () => {
    following.abort();
    following = new AbortController();
    followed = String(query());
    const told = (isConnected, why) => {
      live.className = isConnected ? "live" : "live lost";
      setText(liveText, isConnected ? (paused ? "paused" : "live") : why ?? "connecting");
    };
    stream(`/live?${followed}`, take, told, following.signal);
  };
  // What is scrolled to or searched is asked for at once; the stream follows when that is over.
  let settled = null;
  let peek = new AbortController();
  const look = async () => {
    clearTimeout(settled);
    settled = setTimeout(() => !signal.aborted && follow(), 250);
    peek.abort();
    peek = new AbortController();
    try {
      rows.show(await ask(`/now?${query()}`, { signal: peek.signal }));
    } catch (error) {
      frame.failed(error);
    }
  };

  const liveText = el("span", {}, "connecting");
  const live = el("span", { class: "live lost", role: "status" }, el("i", { "aria-hidden": "true" }), liveText);
  const pause = el("button", { type: "button", "aria-pressed": "false", onclick: () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    setText(pause, paused ? "Go on" : "Pause");
    setText(liveText, paused ? "paused" : "live");
  } }, "Pause");
  const gone = el("p", { class: "note" });
  const refused = el("p", { class: "notice bad", hidden: true }, "The latest edit was refused; what was in force before is. ",
    el("a", { href: "#configuration" }, "Read why"));
  const ranges = el("div", { class: "choice", role: "group", "aria-label": "Time shown" }, RANGES.map(([seconds, label]) =>
    el("button", { type: "button", "aria-pressed": String(asked.range === seconds), onclick: (event) => {
      asked.range = seconds;
      for (const other of ranges.children) other.setAttribute("aria-pressed", String(other === event.currentTarget));
      keep();
      draw();
    } }, label)));

  const title = isSelected
    ? [name(selected.upstream ?? selected.virtual_host), selected.route !== undefined && [" › ", name(selected.route)]]
    : "Everything";
  const back = new URLSearchParams(parameters);
  for (const key of Object.keys(selected)) back.delete(key);
  fill(main,
    el("div", { class: "head" }, el("h1", {}, title),
      isSelected && el("a", { href: `#now?${back}`, class: "button" }, "Show everything"),
      el("span", { class: "room" }), live, pause, ranges),
    refused, gone,
    el("div", { class: "tiles" }, Object.values(tiles).map((it) => it.element)),
    el("div", { class: "charts" }, traffic.element, times.element),
    rows.element);

  ask(`/now/history?${new URLSearchParams(selected)}`, { signal }).then((past) => {
    const since = columns;
    columns = [past.at_unix_s, past.requests_per_s, past.errors_per_s, past.p50_s, past.p99_s, past.p999_s];
    since[0].forEach((at, index) => {
      const [, requests_per_s, errors_per_s, p50_s, p99_s, p999_s] = since.map((column) => column[index]);
      add(at, { requests_per_s, errors_per_s, p50_s, p99_s, p999_s });
    });
    draw();
  }).catch((error) => { if (error.status !== 404) frame.failed(error); });
  rows.measure();
  follow();
}

/** The table: only the rows that are seen exist, whatever there is. */
function rowTable(asked, changed, moved, signal) {
  let found = 0;
  let first = 0;
  let count = 40;
  const made = new Map();

  const body = el("tbody", {});
  const above = el("tr", { class: "spacer", "aria-hidden": "true" }, el("td", { colspan: COLUMNS.length }));
  const below = el("tr", { class: "spacer", "aria-hidden": "true" }, el("td", { colspan: COLUMNS.length }));
  body.append(above, below);
  const heads = COLUMNS.map((column) => el("th", { scope: "col", class: style(column), "data-key": column.key },
    el("button", { type: "button", onclick: () => sort(column.key) }, column.label)));
  const tableElement = el("table", { class: "rows" },
    el("caption", { class: "unseen" }, "Requests, errors and latency by name"),
    el("thead", {}, el("tr", { "aria-rowindex": "1" }, heads)), body);
  const view = el("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Table of figures" }, tableElement);
  const summary = el("p", { class: "note", role: "status" });

  function style(column) {
    return [column.key !== "name" && "number", column.wide && "wide"].filter(Boolean).join(" ") || null;
  }

  function sort(key) {
    const down = key === "name" ? "asc" : "desc";
    asked.order = asked.sort !== key ? down : asked.order === "asc" ? "desc" : "asc";
    asked.sort = key;
    showSort();
    restart();
  }

  function showSort() {
    for (const head of heads) {
      if (head.dataset.key === asked.sort) head.setAttribute("aria-sort", asked.order === "asc" ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
  }

  function restart() {
    view.scrollTop = 0;
    measure();
    changed();
  }

  /** Which rows are seen. */
  function measure() {
    const before = [first, count];
    const height = Math.max(view.clientHeight, window.innerHeight * 0.7);
    first = Math.max(0, Math.floor(view.scrollTop / ROW_PX) - OVERSCAN);
    count = Math.min(200, Math.ceil(height / ROW_PX) + 2 * OVERSCAN);
    return before[0] !== first || before[1] !== count;
  }

  let waiting = false;
  const look = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      if (measure()) moved();
    });
  };
  view.addEventListener("scroll", look, { passive: true });
  window.addEventListener("resize", look, { signal });

  const of = [["virtual_hosts", "Virtual hosts"], ["routes", "Routes"], ["upstreams", "Upstreams"]];
  const choice = el("div", { class: "choice", role: "group", "aria-label": "What the table shows" }, of.map(([key, label]) =>
    el("button", { type: "button", "aria-pressed": String(asked.of === key), onclick: (event) => {
      asked.of = key;
      for (const other of choice.children) other.setAttribute("aria-pressed", String(other === event.currentTarget));
      restart();
    } }, label)));
  const search = el("input", { type: "search", id: "search", placeholder: "Search by name", value: asked.search, "aria-label": "Search by name", maxlength: "1000", oninput: () => {
    asked.search = search.value;
    restart();
  } });

  function make() {
    const link = el("a", {}, el("bdi", { class: "name" }));
    const cells = COLUMNS.map((column, at) => at === 0
      ? el("th", { scope: "row" }, link)
      : el("td", { class: style(column) }, column.metric ? el("a", { class: "figure" }) : null));
    return { row: el("tr", {}, cells), link, cells };
  }

  function put(place, entry) {
    let known = made.get(place);
    if (!known) made.set(place, known = make());
    const { row, link, cells } = known;
    const labels = labelsOf(entry);
    const words = entry.upstream ?? (entry.route === undefined ? entry.virtual_host : `${entry.virtual_host} › ${entry.route}`);
    const key = JSON.stringify(labels);
    if (known.key !== key) {
      known.key = key;
      setText(link.firstChild, words);
      link.title = words;
      link.href = `#now?${new URLSearchParams({ of: asked.of, ...labels })}`;
      cells.forEach((cell, at) => {
        if (at === 0) return;
        const base = COLUMNS[at].metric;
        const metric = entry.upstream === undefined ? base : OF_UPSTREAMS[base];
        cell.firstChild.href = `#metric?${new URLSearchParams({ name: metric, ...labels })}`;
      });
    }
    row.setAttribute("aria-rowindex", String(place + 2));
    COLUMNS.forEach((column, at) => {
      if (at === 0) return;
      setText(cells[at].firstChild, column.of(entry));
      cells[at].classList.toggle("bad", Boolean(column.bad?.(entry)));
    });
    return row;
  }

  const height = (spacer, rows) => {
    spacer.firstChild.style.height = `${rows * ROW_PX}px`;
    spacer.hidden = rows <= 0;
  };

  showSort();
  return {
    element: section("By name", el("div", { class: "tools" }, choice, search, summary), view),
    offset: () => first,
    limit: () => count,
    measure,
    show(reading) {
      found = reading.found;
      setText(summary, `${found.toLocaleString("en")} ${found === 1 ? "row" : "rows"}`);
      tableElement.setAttribute("aria-rowcount", String(found + 1));
      const last = reading.offset + reading.rows.length;
      for (const [place, { row }] of made) {
        if (place < reading.offset || place >= last) {
          row.remove();
          made.delete(place);
        }
      }
      height(above, reading.offset);
      height(below, found - last);
      let before = above;
      reading.rows.forEach((entry, at) => {
        const row = put(reading.offset + at, entry);
        if (before.nextSibling !== row) before.after(row);
        before = row;
      });
    },
  };
}
