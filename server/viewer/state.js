// What a picture shows, as a state; as the parameters of a request; and as the page's address.
import { merges } from "./words.js";

export const FIELDS = ["datetime", "baseline", "style", "formula", "stage", "method", "colormap", "rescale"];
export const FORMULAS = { bands: "B04,B03,B02", expression: "(B08-B04)/(B08+B04)" };
export const RAMPS = ["gray", "rdylgn", "brbg", "viridis", "magma", "rdbu_r", "turbo"];

// Styles that show where a picture comes from, whose colours have fixed meanings: those that only the server can draw.
export const isLayer = (style, mosaic) => !(style in FORMULAS) && !(style in mosaic.renders);
export const compares = (stage) => !["raw", "mask"].includes(stage);
export const since = ({ stage, baseline }) => (baseline && compares(stage) ? { baseline } : {});

// What is measured: days, stage, blending, without how it is coloured.
export function measured(state) {
  const { datetime, stage, method } = state;
  return { datetime, stage, ...since(state), ...(merges(stage) ? { method } : {}) };
}

// Bands, formula or style of a state, as a request names them.
export function content({ style, formula }) {
  return style in FORMULAS ? { [style]: formula } : { style };
}

export function query(state, mosaic) {
  if (state.stage === "mask") return new URLSearchParams(measured(state));
  const colours = isLayer(state.style, mosaic) ? {} :
    { ...(state.rescale ? { rescale: state.rescale } : {}), ...(state.colormap && state.style === "expression" ? { colormap_name: state.colormap } : {}) };
  return new URLSearchParams({ ...measured(state), ...content(state), ...colours });
}

const tells = (name, state) => (name === "formula" ? state.style in FORMULAS : state[name]);

// `states`: the left one and the right one; the right one alone where nothing is compared.
export function address({ mosaic, states, swipe, at }) {
  const all = new URLSearchParams({ mosaic });
  states.forEach((state, i) => {
    for (const name of FIELDS) if (tells(name, state)) all.set(name + (i ? "2" : ""), state[name]);
  });
  if (swipe != null) all.set("swipe", swipe);
  all.set("at", at.map((v, i) => v.toFixed(i < 2 ? 4 : 2)).join(","));
  return `#${all}`;
}

export function remembered(hash) {
  const given = new URLSearchParams(hash.slice(1));
  const side = (suffix) => Object.fromEntries(FIELDS.filter((n) => given.has(n + suffix)).map((n) => [n, given.get(n + suffix)]));
  const at = given.get("at")?.split(",").map(Number);
  const first = side("");
  return { any: given.size > 0, mosaic: given.get("mosaic"), states: [first, { ...first, ...side("2") }], swipe: given.get("swipe"),
    at: at?.length === 3 && at.every(Number.isFinite) ? at : undefined };
}
