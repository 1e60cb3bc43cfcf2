// Charts over time, drawn by uPlot in the colours of the style sheet.

import uPlot from "/page/uplot/uPlot.esm.js";
import { el } from "/page/dom.js";

const HEIGHT = 190;

/** A colour of the style sheet. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/**
 * A chart. `lines` are {label, colour, fill}, `format` writes a value. `describe` makes a sentence of the
 * data for who does not see it.
 */
export function chart(title, lines, format, describe, options = {}) {
  const place = el("div", { class: "plot" });
  const words = el("p", { class: "unseen" });
  const figure = el("figure", { class: "chart" }, el("figcaption", {}, title), place, words);
  let plot = null;
  let data = [[], ...lines.map(() => [])];
  let range = null;

  const make = () => {
    plot?.destroy();
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const line = (it) => ({
      label: it.label,
      stroke: colour(it.colour),
      fill: it.fill ? colour(it.fill) : undefined,
      width: 1.5,
      points: { show: false },
      spanGaps: false,
      value: (_, value) => (value === null || value === undefined ? "–" : format(value)),
    });
    const top = (_, __, most) => [0, most > 0 ? most * 1.1 : 1];
    plot = new uPlot({
      width: Math.max(place.clientWidth, 200),
      height: HEIGHT,
      cursor: { y: false, drag: { x: false, y: false } },
      legend: { live: true },
      scales: {
        x: { time: true, range: (_, first, last) => range ?? [first, last] },
        y: options.logarithmic ? { distr: 3, range: logRange } : { range: top },
      },
      axes: [
        { ...axis, space: 60, size: 30, values: [[3600, "{HH}:{mm}", null, null, null, null, null, null, 0], [60, "{HH}:{mm}", null, null, null, null, null, null, 0], [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 0]] },
        { ...axis, size: 62, values: (_, values) => values.map((it) => (it === null ? "" : format(it))) },
      ],
      series: [{ label: "at", value: (_, at) => (at === null ? "–" : new Date(at * 1000).toLocaleTimeString("en-GB")) }, ...lines.map(line)],
    }, data, place);
  };

  const resize = new ResizeObserver(() => plot?.setSize({ width: Math.max(place.clientWidth, 200), height: HEIGHT }));
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const restyle = () => plot && make();
  scheme.addEventListener("change", restyle);

  return {
    element: figure,
    /** Shows `next`, seconds and values in columns, from `first` to `last`. */
    show(next, first, last) {
      data = next;
      range = first < last ? [first, last] : null;
      if (plot) {
        plot.setData(data);
        // Who points at nothing is told the latest.
        if (plot.cursor.left < 0) plot.setLegend({ idx: data[0].length - 1 }, false);
      }
      else if (place.isConnected) {
        make();
        resize.observe(place);
      }
      const said = describe(data);
      if (words.textContent !== said) words.textContent = said;
    },
    end() {
      resize.disconnect();
      scheme.removeEventListener("change", restyle);
      plot?.destroy();
      plot = null;
    },
  };
}

/** Powers of ten around the data. */
function logRange(_, least, most) {
  if (!(least > 0) || !(most > 0)) return [1e-3, 1];
  return [10 ** Math.floor(Math.log10(least)), 10 ** Math.ceil(Math.log10(most * 1.0001))];
}

/** The largest value of a column. */
export function most(column) {
  let found = null;
  for (const value of column) if (value !== null && value !== undefined && (found === null || value > found)) found = value;
  return found;
}

/** The last value of a column that is known. */
export function latest(column) {
  for (let at = column.length - 1; at >= 0; at -= 1) if (column[at] !== null && column[at] !== undefined) return column[at];
  return null;
}
