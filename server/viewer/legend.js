// What the colours mean: the server's picture for its styles, a ramp of our own for formulas, bands and stretched colours.
import { fetched } from "./ask.js";
import { since } from "./state.js";
import { element, shortDay } from "./words.js";

const CHANNELS = ["Red", "Green", "Blue"];

async function picture(path, alt) {
  const image = element("img", "", { alt });
  const blob = await (await fetched(path)).blob();
  image.src = URL.createObjectURL(blob);
  await image.decode();
  URL.revokeObjectURL(image.src);
  return image;
}

async function ramp(name, low, high, label) {
  const image = name === "gray" ? element("span", "", { className: "grey", role: "img", ariaLabel: "black to white" }) :
    await picture(`colorMaps/${name}?f=png&width=200&height=14`, `Colours of ${name}`);
  return element("figure", [element("figcaption", label), image, element("p", [element("span", low), element("span", high)], { className: "ends" })]);
}

// Bands behind the colours; one band alone goes from black to white.
function bandList(bands, low, high, label) {
  if (bands.length === 1) return ramp("gray", low, high, `${label}: ${bands[0]}`);
  const row = (band, i) => element("li", [element("i", "", { className: `channel${i}` }), `${CHANNELS[i]}: ${band}, ${low} to ${high}`]);
  return element("ul", bands.slice(0, 3).map(row), { ariaLabel: label });
}

// Elements for a state; `mosaic` is its Collection, `days` the first and the last day that are shown.
export async function legend(state, mosaic, days) {
  const { stage, style, formula, rescale, colormap } = state;
  if ("baseline" in since(state)) return [];
  if (stage === "mask") return [await picture(`mosaics/${mosaic.id}/legend/classes.png`, "Legend: classes of the mask")];
  const ends = (usual) => (rescale ? rescale.split(",").map(Number) : usual).map((v) => String(Number(v.toFixed(3))));
  if (style === "expression") return [await ramp(colormap || "gray", ...ends([-1, 1]), formula)];
  if (style === "bands") return [await bandList(formula.split(","), ...ends([0, 0.4]), "Bands")];
  const label = mosaic["terrazzo:styles"][style];
  const drawn = mosaic.renders[style];
  if (drawn) {
    // Stored numbers are reflectance in 1e-4; an expression has units of its own.
    const range = ends(drawn.rescale[0].map((v) => (drawn.expression ? v : v / 1e4)));
    return [await (drawn.colormap_name ? ramp(drawn.colormap_name, ...range, label) : bandList(drawn.assets, ...range, label))];
  }
  const search = new URLSearchParams({ datetime: state.datetime });
  const image = await picture(`mosaics/${mosaic.id}/legend/${style}.png?${search}`, `Legend: ${label}`);
  const dates = style === "date" && days ? [element("p", `${shortDay(days[0])} to ${shortDay(days[1])}`, { className: "hint" })] : [];
  return [image, ...dates];
}
