// An area in numbers: drawn with pointer or finger, or what the map shows; its statistics over periods or days, as a chart and a table.
import { ask } from "./ask.js";
import { chart, key } from "./chart.js";
import { filled, openCard } from "./cards.js";
import { refusal } from "./pixel.js";
import { asked, moments, whatMenu } from "./questions.js";
import { csv, element, merges, saved, table, when } from "./words.js";

const card = document.getElementById("area");
const HEAD = ["when", "band", "mean", "median", "std", "p2", "p98", "clear"];
// A moment of which less is clear says little of the area.
const ENOUGH = 0.3;

const polygon = ([w, s, e, n]) => ({ type: "Polygon", coordinates: [[[w, s], [e, s], [e, n], [w, n], [w, s]]] });
const three = (value) => (value == null ? undefined : Number(value.toPrecision(4)));

// Statistics of a geometry at one moment: a row for each band or formula.
async function described(mosaic, geometry, q, moment) {
  const search = new URLSearchParams({ ...q, datetime: moment.name, ...(moment.isDay ? { fill: "none" } : {}) });
  const body = { type: "Feature", properties: {}, geometry };
  const { properties } = await ask(`mosaics/${mosaic.id}/statistics?${search}`, { method: "POST", body });
  return Object.entries(properties.statistics).map(([name, s]) => ({ moment, name, clear: properties.clear_share, mean: s.mean, median: s.median,
    std: s.std, low: s.percentile_2, high: s.percentile_98 }));
}

function shown(rows, title) {
  const names = [...new Set(rows.map((r) => r.name))];
  const text = (m) => (m.from === m.to ? m.from : `${m.from}/${m.to}`);
  const series = names.map((name) => ({
    name,
    dots: rows.filter((r) => r.name === name && r.mean != null).map((r) => ({ day: r.moment.isDay ? r.moment.from : middle(r.moment), value: r.mean,
      full: r.clear >= ENOUGH, ...(names.length === 1 ? { low: r.low, high: r.high } : {}),
      title: `${when(text(r.moment))}: ${name} mean ${three(r.mean)}, ${Math.round(100 * (r.clear ?? 0))} % clear` })),
  }));
  const cells = rows.map((r) => [text(r.moment), r.name, ...[r.mean, r.median, r.std, r.low, r.high, r.clear].map(three)]);
  const button = element("button", "CSV", { type: "button" });
  button.addEventListener("click", () => saved(`${title}.csv`, csv([HEAD, ...cells]), "text/csv"));
  return [chart(series, `Mean by time: ${names.join(", ")}`), key(names),
    element("p", `● at least ${100 * ENOUGH} % of the area clear  ○ less${names.length === 1 ? "; the band holds 96 % of the pixels" : ""}`, { className: "hint" }),
    element("details", [element("summary", "Numbers"), table(HEAD, cells), button])];
}

const middle = ({ from, to }) => new Date((Date.parse(from) + Date.parse(to)) / 2).toISOString().slice(0, 10);

let looks = 0;

// Opens the card. `view` gives {mosaic, state} of the picture that is asked about.
export function measureArea(map, view) {
  const draw = element("button", "Draw around it", { type: "button", name: "draw", ariaPressed: "false" });
  const whole = element("button", "What the map shows", { type: "button", name: "whole" });
  const out = element("div", "Draw with pointer or finger: press, go around the area, let go.", { className: "series", ariaLive: "polite" });
  let geometry;
  let what;
  let kept;

  async function look() {
    if (!geometry) return;
    const mine = ++looks;
    const { mosaic, state } = view();
    const chosen = merges(state.stage) ? state : { ...state, stage: "normalized" };
    const rows = [];
    out.replaceChildren("Reading …");
    try {
      const times = await moments(mosaic, chosen);
      for (const [i, moment] of times.entries()) {
        // One after the other: a map does not fill the server's queue.
        const found = await described(mosaic, geometry, asked({ ...chosen, baseline: "" }, what), moment).catch((error) => {
          if (error.status === 404) return [];
          throw error;
        });
        if (mine !== looks || card.hidden) return;
        rows.push(...found);
        out.replaceChildren(...shown(rows, "area"), ...(i < times.length - 1 ? [`${i + 1} of ${times.length} …`] : []));
      }
      if (!rows.length) out.replaceChildren("The mosaic has no data there.");
    } catch (error) {
      if (mine === looks) out.replaceChildren(refusal(error, look));
    }
  }

  function fill() {
    const { mosaic, state } = view();
    const { menu, first } = whatMenu(state, mosaic, (chosen, name) => {
      what = chosen;
      kept = name;
      look();
    }, kept);
    what = first;
    filled(card, "An area in numbers", element("div", [draw, whole], { className: "row" }), menu, out);
  }

  function drawing(on) {
    draw.ariaPressed = String(on);
    document.body.classList.toggle("drawing", on);
  }

  draw.addEventListener("click", () => {
    if (draw.ariaPressed === "true") {
      map.stopDrawing();
      return drawing(false);
    }
    drawing(true);
    map.draw("area", (drawn) => {
      drawing(false);
      geometry = drawn;
      look();
    });
  });
  whole.addEventListener("click", () => {
    const seen = map.seen(view().mosaic.extent.spatial.bbox[0]);
    if (!(seen[2] > seen[0] && seen[3] > seen[1])) return out.replaceChildren("The map shows nothing of the mosaic.");
    geometry = polygon(seen);
    map.box(seen);
    look();
  });
  openCard(card, () => {
    looks++;
    drawing(false);
    map.stopDrawing();
    map.outlined();
  }, () => {
    fill();
    look();
  });
  fill();
  draw.focus();
}
