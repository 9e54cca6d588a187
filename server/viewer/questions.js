// What is asked of a place or an area: the picture's own bands or formula, or an index; over periods, or over days where there is one period.
import { ask } from "./ask.js";
import { content, isLayer, measured } from "./state.js";
import { element } from "./words.js";

const MOST = 24;
export const ISO_ALL = "../..";

// A menu of what can be measured. `changed` runs with what is asked, {style}, {bands} or {expression}, and its name, by which a menu that is drawn again keeps it.
export function whatMenu(state, mosaic, changed, kept) {
  const own = isLayer(state.style, mosaic) ? { style: Object.keys(mosaic.renders)[0] } : content(state);
  const styles = Object.entries(mosaic.renders).map(([style, { title }]) => [title, { style }]);
  const bands = Object.keys(mosaic.item_assets);
  const choices = [["What the map shows", own], ...styles, ["All bands", { bands: bands.join(",") }]];
  const menu = element("select", choices.map(([text], i) => new Option(text, i)));
  menu.addEventListener("change", () => changed(choices[menu.value][1], choices[menu.value][0]));
  const first = Math.max(0, choices.findIndex(([text]) => text === kept));
  menu.value = first;
  return { menu: element("label", ["Values ", menu]), first: choices[first][1] };
}

// The moments that are compared, oldest first: the newest periods, or the days of the only one.
export async function moments(mosaic, state) {
  const periods = mosaic["terrazzo:periods"].filter((p) => !p.members.length).sort((a, b) => a.end.localeCompare(b.end));
  if (periods.length > 1) return periods.slice(-MOST).map((p) => ({ name: p.name, from: p.start, to: p.end, isDay: false }));
  const { days } = await ask(`mosaics/${mosaic.id}/days?${new URLSearchParams({ datetime: periods[0]?.name ?? state.datetime })}`);
  return days.slice(-MOST).map((d) => ({ name: d.date, from: d.date, to: d.date, isDay: true }));
}

// The stage whose values are measured: a mask holds none.
export const asked = (state, what) => ({ ...measured(state), ...(state.stage === "mask" ? { stage: "normalized" } : {}), ...what });
