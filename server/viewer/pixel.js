// A pixel's card: its value and where it comes from, its values over time, and why not the other scenes.
import { ask, keyed } from "./ask.js";
import { chart, key } from "./chart.js";
import { filled, openCard } from "./cards.js";
import { asked, ISO_ALL, whatMenu } from "./questions.js";
import { query } from "./state.js";
import { csv, element, merges, saved, shortDay, table, when } from "./words.js";

const card = document.getElementById("told");
const CLEAR = ["land", "water", "snow", "terrain shadow"];
const MOST_PERIODS = 24;

const isClear = (c) => CLEAR.includes(c.mask) && (c.weight > 1 || !c.verdict.startsWith("left out"));

// What the chart shows: every scene's value at the place, and the mosaic's by period.
async function history(mosaic, place, state, what) {
  const all = mosaic["terrazzo:periods"];
  const chosen = merges(state.stage) ? state : { ...state, stage: "normalized" };
  const q = asked({ ...chosen, baseline: "" }, what);
  const periods = all.filter((p) => !p.members.length).sort((a, b) => a.end.localeCompare(b.end)).slice(-MOST_PERIODS);
  const span = all.length > MOST_PERIODS ? `${periods[0].start}/${periods.at(-1).end}` : ISO_ALL;
  const at = `mosaics/${mosaic.id}`;
  const [account, ...points] = await Promise.all([
    ask(`${at}/explain/${place}?${new URLSearchParams({ ...q, datetime: span })}`),
    ...periods.map((p) => ask(`${at}/point/${place}?${new URLSearchParams({ ...q, datetime: p.name })}`).catch((error) => {
      // A period without data has no value there; all else is said.
      if (error.status === 404) return undefined;
      throw error;
    })),
  ]);
  const names = account.expression_names ?? account.band_names;
  const valuesOf = (c) => (account.expression_names ? c.expression_values : c.values) ?? [];
  return { names, observations: account.candidates.map((c) => ({ day: c.datetime.slice(0, 10), scene: c.scene, mask: c.mask, clear: isClear(c), values: valuesOf(c) })),
    periods: periods.flatMap((p, i) => (points[i] ? [{ from: p.start, to: p.end, values: points[i].values.map((v) => v && Number(v.toFixed(4))) }] : [])) };
}

function drawn({ names, observations, periods }, title) {
  const series = names.map((name, i) => ({
    name,
    dots: observations.filter((o) => o.values[i] != null).map((o) => ({ day: o.day, value: o.values[i], full: o.clear,
      title: `${when(o.day)}: ${name} ${o.values[i]}, ${o.mask ?? "no data"}` })),
    spans: periods.map((p) => ({ from: p.from, to: p.to, value: p.values[i], title: `Mosaic, ${shortDay(p.from)} – ${shortDay(p.to)}: ${name} ${p.values[i]}` })),
  }));
  const rows = observations.toSorted((a, b) => a.day.localeCompare(b.day)).map((o) => [o.day, o.scene, o.mask, ...names.map((_, i) => o.values[i])]);
  const head = ["day", "scene", "class", ...names];
  const button = element("button", "CSV", { type: "button" });
  const mosaicRows = periods.map((p) => [`${p.from}/${p.to}`, "mosaic", "", ...p.values]);
  button.addEventListener("click", () => saved(`${title}.csv`, csv([head, ...rows, ...mosaicRows]), "text/csv"));
  return [chart(series, `Values by day: ${names.join(", ")}`), key(names),
    element("p", "● clear  ○ cloud, shadow or haze (at the edge: beyond it)  ━ the mosaic", { className: "hint" }),
    element("details", [element("summary", "Numbers"), table(head, rows), button])];
}

// The values at the place; of a formula also what it is computed from.
function value({ change, expression_names: names = [], expression_values: results = [], band_names: bands, values, candidates }) {
  if (bands[0] === "mask") return element("p", `The mask says: ${candidates.find((c) => c.chosen).mask}.`);
  const rows = [...names.map((name, i) => [name, results[i]]), ...bands.map((band, i) => [band, values[i], ...(change ? [change[i]] : [])])];
  return table(["", "value", ...(change ? ["change"] : [])], rows);
}

const verdicts = (scenes) => element("ul", scenes.map((c) => element("li", `${shortDay(c.datetime.slice(0, 10))}, ${c.scene}: ${c.verdict}`)));

function facts(account, page) {
  const others = account.candidates.filter((c) => !c.chosen);
  const link = element("a", "The full explanation, step by step", { href: page, target: "_blank", rel: "noopener" });
  const { lng, lat } = { lng: account.coordinates[0], lat: account.coordinates[1] };
  return [
    element("p", `Mostly from ${when(account.datetime.slice(0, 10))}: ${account.candidates.find((c) => c.chosen).verdict.replace(/^chosen: /, "")}.`),
    element("p", `${account.scenes_usable} usable scenes; ${account.quality_names.join(", ") || "clear"}. ${lat.toFixed(5)}, ${lng.toFixed(5)}`, { className: "hint" }),
    ...(account.baseline ? [element("p", `Compared with ${when(account.baseline.datetime.slice(0, 10))}, ${account.baseline.scene}`)] : []),
    element("details", [element("summary", others.length ? `Why not the other ${others.length}` : "There is no other scene"),
      verdicts(others)]),
    element("p", link),
  ];
}

let looks = 0;
// What was chosen to be measured: a click elsewhere or another picture asks for the same.
let kept;

// Opens the card for a place: [lon, lat]. `mosaic` is its Collection, `name` the side's in words; `end` and `renew` are those of the card.
export async function explainPixel(mosaic, [lon, lat], { state, name }, end, renew) {
  const mine = ++looks;
  const place = `${lon.toFixed(6)},${lat.toFixed(6)}`;
  const path = `mosaics/${mosaic.id}/explain/${place}?${query(state, mosaic)}`;
  const reason = element("div", "…", { ariaLive: "polite" });
  const series = element("div", "Reading the scenes …", { className: "series", ariaLive: "polite" });
  const { menu, first } = whatMenu(state, mosaic, (chosen, chosenName) => {
    kept = chosenName;
    look(chosen);
  }, kept);
  openCard(card, end, renew);
  filled(card, "This pixel", element("p", name, { className: "hint" }), reason, element("h3", "Over time"), menu, series);
  let turns = 0;

  async function look(what) {
    const turn = ++turns;
    const now = () => mine === looks && turn === turns;
    series.replaceChildren("Reading the scenes …");
    try {
      const shown = drawn(await history(mosaic, place, state, what), `pixel_${place}`);
      if (now()) series.replaceChildren(...shown);
    } catch (error) {
      if (now()) series.replaceChildren(refusal(error, () => look(what)));
    }
  }

  async function why() {
    try {
      const account = await ask(path);
      if (mine !== looks) return;
      reason.replaceChildren(value(account), ...facts(account, keyed(`${path}&f=html`)));
    } catch (error) {
      if (mine === looks) reason.replaceChildren(refusal(error, why), verdicts(error.candidates ?? []));
    }
  }
  await why();
  if (mine === looks) await look(first);
}

// What went wrong, in words, with a way to ask again.
export function refusal(error, again) {
  const button = element("button", "Try again", { type: "button" });
  button.addEventListener("click", again);
  return element("p", [error.message, " ", button], { className: "refusal" });
}
