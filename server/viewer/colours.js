// How values become colours: a histogram of what the map shows, its darkest and brightest value, and a formula's colours.
import { fetched } from "./ask.js";
import { filled, openCard } from "./cards.js";
import { key, COLOURS } from "./chart.js";
import { parseNpy } from "./npy.js";
import { refusal } from "./pixel.js";
import { content, isLayer, measured, RAMPS } from "./state.js";
import { element } from "./words.js";

const card = document.getElementById("colours");
const BINS = 80;
const SIDE = 256;
const SCALE = 1e-4;
const NODATA = -32768;
const [WIDTH, HEIGHT] = [320, 110];
const NS = "http://www.w3.org/2000/svg";

// The values in view, a sorted array for each channel, in reflectance or the formula's units.
async function valuesInView(mosaic, state, box) {
  const [w, s, e, n] = box;
  const ratio = (n - s) / ((e - w) * Math.cos((((s + n) / 2) * Math.PI) / 180));
  const size = ratio > 1 ? [Math.max(1, Math.round(SIDE / ratio)), SIDE] : [SIDE, Math.max(1, Math.round(SIDE * ratio))];
  const search = new URLSearchParams({ ...measured(state), ...content(state) });
  const answer = await fetched(`mosaics/${mosaic.id}/bbox/${box.map((v) => v.toFixed(6))}/${size.join("x")}.npy?${search}`);
  const { shape, values } = parseNpy(await answer.arrayBuffer());
  const pixels = shape[1] * shape[2];
  const isFloat = values instanceof Float32Array;
  // The last channel says where there are data.
  return Array.from({ length: shape[0] - 1 }, (_, channel) => {
    const own = Array.from(values.subarray(channel * pixels, (channel + 1) * pixels)).filter((v) => (isFloat ? Number.isFinite(v) : v !== NODATA));
    return (isFloat ? own : own.map((v) => v * SCALE)).sort((a, b) => a - b);
  });
}

const quantile = (sorted, share) => sorted[Math.round(share * (sorted.length - 1))];

function histogram(channels, [low, high], marks) {
  const svg = document.createElementNS(NS, "svg");
  const set = (node, attributes) => Object.entries(attributes).forEach(([k, v]) => node.setAttribute(k, v));
  set(svg, { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "chart", "aria-label": `Histogram from ${low.toFixed(2)} to ${high.toFixed(2)}` });
  const bins = channels.map((sorted) => {
    const counts = new Array(BINS).fill(0);
    for (const v of sorted) if (v >= low && v <= high) counts[Math.min(BINS - 1, Math.floor(((v - low) / (high - low)) * BINS))]++;
    return counts;
  });
  const most = Math.max(1, ...bins.flat());
  bins.forEach((counts, i) => {
    const line = document.createElementNS(NS, "polygon");
    const points = counts.map((c, bin) => `${((bin + 0.5) / BINS) * WIDTH},${HEIGHT - (c / most) * (HEIGHT - 6)}`);
    set(line, { points: [`0,${HEIGHT}`, ...points, `${WIDTH},${HEIGHT}`].join(" "), fill: COLOURS[i % COLOURS.length], stroke: COLOURS[i % COLOURS.length], class: "bins" });
    svg.append(line);
  });
  for (const mark of marks) {
    const x = ((mark - low) / (high - low)) * WIDTH;
    const line = document.createElementNS(NS, "line");
    set(line, { x1: x, x2: x, y1: 0, y2: HEIGHT, class: "mark" });
    svg.append(line);
  }
  return svg;
}

// The darkest and the brightest value of a state without a stretch of its own.
function usual(state, mosaic) {
  if (state.style === "expression") return [-1, 1];
  const drawn = mosaic.renders[state.style];
  if (!drawn) return [0, 0.4];
  return drawn.rescale[0].map((v) => (drawn.expression ? v : v * SCALE));
}

let looks = 0;

// Opens the card. `view` gives {mosaic, state}; `changed({rescale, colormap})` applies what is chosen; `quiet`: the focus stays where it is.
export function stretchColours(map, view, changed, quiet = false) {
  const start = view();
  const [from, to] = start.state.rescale ? start.state.rescale.split(",").map(Number) : usual(start.state, start.mosaic);
  const number = (name, value) => element("input", "", { type: "number", step: "any", name, value: Number(value.toFixed(3)) });
  const [low, high] = [number("low", from), number("high", to)];
  const fit = element("button", "Fit to what the map shows", { type: "button", name: "fit" });
  const reset = element("button", "As usual", { type: "button", name: "reset" });
  const ramps = element("select", RAMPS.map((name) => new Option(name, name)), { name: "ramp", value: start.state.colormap || "gray" });
  const out = element("div", "…", { className: "series", ariaLive: "polite" });
  let channels = [];

  function draw() {
    if (!channels.some((c) => c.length)) return out.replaceChildren("The map shows nothing of the mosaic.");
    const seen = channels.filter((c) => c.length);
    const marks = [Number(low.value), Number(high.value)];
    const ends = [Math.min(marks[0], ...seen.map((c) => quantile(c, 0.002))), Math.max(marks[1], ...seen.map((c) => quantile(c, 0.998)))];
    const names = start.state.style === "bands" ? start.state.formula.split(",") : start.mosaic.renders[start.state.style]?.assets ?? [];
    out.replaceChildren(histogram(channels, ends, marks), ...(channels.length > 1 ? [key(names)] : []));
  }

  function apply() {
    if (!(Number(high.value) > Number(low.value))) return;
    draw();
    changed({ rescale: `${Number(low.value)},${Number(high.value)}`, colormap: start.state.style === "expression" ? ramps.value : "" });
  }

  async function read() {
    const mine = ++looks;
    const box = map.seen(start.mosaic.extent.spatial.bbox[0]);
    if (!(box[2] > box[0] && box[3] > box[1])) return draw();
    try {
      const found = await valuesInView(start.mosaic, start.state, box);
      if (mine !== looks) return;
      channels = found;
      draw();
    } catch (error) {
      if (mine === looks) out.replaceChildren(refusal(error, read));
    }
  }

  fit.addEventListener("click", () => {
    const seen = channels.filter((c) => c.length);
    if (!seen.length) return;
    low.value = Math.min(...seen.map((c) => quantile(c, 0.02))).toFixed(3);
    high.value = Math.max(...seen.map((c) => quantile(c, 0.98))).toFixed(3);
    apply();
  });
  reset.addEventListener("click", () => {
    [low.value, high.value] = usual(start.state, start.mosaic).map((v) => Number(v.toFixed(3)));
    ramps.value = "gray";
    draw();
    changed({ rescale: "", colormap: "" });
  });
  for (const field of [low, high, ramps]) field.addEventListener("change", apply);
  openCard(card, () => looks++, () => stretchColours(map, view, changed, true));
  if (isLayer(start.state.style, start.mosaic) || start.state.stage === "mask") {
    filled(card, "Colours", element("p", "These colours have fixed meanings: see the legend."));
  } else {
    filled(card, "Colours", element("p", "How often each value is in view; the lines are black and white, or the ends of the colours."), out,
      element("div", [element("label", ["Darkest ", low]), element("label", ["Brightest ", high])], { className: "sides" }),
      ...(start.state.style === "expression" ? [element("label", ["Colours ", ramps])] : []), element("div", [fit, reset], { className: "row" }));
    read();
  }
  if (!quiet) card.focus();
}
