// A chart of values over time as SVG: dots that are full where the sky was clear, spans of periods, bands of a spread.

const NS = "http://www.w3.org/2000/svg";
export const COLOURS = ["var(--one)", "var(--two)", "var(--three)", "var(--four)"];
const SIZE = { width: 320, height: 170, left: 44, right: 10, top: 10, bottom: 24 };
const DAY = 864e5;

function shape(name, attributes, text) {
  const created = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) created.setAttribute(key, value);
  if (text) created.append(name === "text" ? text : Object.assign(document.createElementNS(NS, "title"), { textContent: text }));
  return created;
}

function ticks(low, high) {
  const step = 10 ** Math.floor(Math.log10((high - low) / 2));
  const size = [1, 2, 5, 10].map((n) => n * step).find((s) => (high - low) / s <= 4.5);
  const first = Math.ceil(low / size);
  return Array.from({ length: Math.floor(high / size) - first + 1 }, (_, i) => Number(((first + i) * size).toPrecision(6)));
}

// series: [{name, dots: [{day, value, full, ring, title, low, high}], spans: [{from, to, value, title}]}]; days are ISO texts.
export function chart(series, label) {
  const all = series.flatMap((s) => [...s.dots, ...(s.spans ?? [])]).filter((d) => d.value != null);
  if (!all.length) return document.createTextNode("There is no value to draw.");
  const time = (iso) => Date.parse(`${iso.slice(0, 10)}T00:00:00Z`);
  const times = all.flatMap((d) => (d.day ? [time(d.day)] : [time(d.from), time(d.to)]));
  // Clouds are so bright that what is clear would lie in one line: they are drawn at the edge.
  const clear = all.filter((d) => d.full !== false);
  const values = (clear.length > 1 ? clear : all).flatMap((d) => [d.value, d.low ?? d.value, d.high ?? d.value]);
  const [from, to] = [Math.min(...times), Math.max(...times, Math.min(...times) + DAY)];
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const pad = Math.max((high - low) * 0.12, 0.004);
  [low, high] = [low - pad, high + pad];
  const { width, height, left, right, top, bottom } = SIZE;
  const x = (t) => left + 8 + ((t - from) / (to - from)) * (width - left - right - 16);
  const y = (v) => height - bottom - ((Math.min(high, Math.max(low, v)) - low) / (high - low)) * (height - top - bottom);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "chart" });
  for (const tick of ticks(low, high)) {
    svg.append(shape("line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), class: "grid" }),
      shape("text", { x: left - 5, y: y(tick) + 3.5, "text-anchor": "end" }, String(tick)));
  }
  const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: to - from > 300 * DAY ? "numeric" : undefined, timeZone: "UTC" });
  svg.append(shape("text", { x: left, y: height - 7 }, day.format(from)),
    shape("text", { x: width - right, y: height - 7, "text-anchor": "end" }, day.format(to)));
  series.forEach((s, i) => drawn(svg, s, COLOURS[i % COLOURS.length], { x: (iso) => x(time(iso)), y }));
  return svg;
}

function drawn(svg, { dots, spans = [] }, colour, { x, y }) {
  const seen = dots.filter((d) => d.value != null).sort((a, b) => a.day.localeCompare(b.day));
  const clear = seen.filter((d) => d.full);
  for (const s of spans.filter((p) => p.value != null)) {
    svg.append(shape("line", { x1: x(s.from) - 4, x2: x(s.to) + 4, y1: y(s.value), y2: y(s.value), stroke: colour, class: "span" }, s.title));
  }
  const spread = clear.filter((d) => d.low != null);
  if (spread.length > 1) {
    const edge = [...spread.map((d) => `${x(d.day)},${y(d.high)}`), ...spread.toReversed().map((d) => `${x(d.day)},${y(d.low)}`)];
    svg.append(shape("polygon", { points: edge.join(" "), fill: colour, class: "spread" }));
  }
  if (clear.length > 1) svg.append(shape("polyline", { points: clear.map((d) => `${x(d.day)},${y(d.value)}`).join(" "), stroke: colour, class: "line" }));
  for (const d of seen) {
    svg.append(shape("circle", { cx: x(d.day), cy: y(d.value), r: d.ring ? 5 : 3.5, fill: d.full ? colour : "var(--card)", stroke: d.ring ? "var(--ink)" : colour }, d.title));
  }
}

export function key(names) {
  const list = document.createElement("p");
  list.className = "key";
  names.forEach((name, i) => {
    const mark = document.createElement("i");
    mark.style.background = COLOURS[i % COLOURS.length];
    list.append(mark, ` ${name} `);
  });
  return list;
}
