import * as maplibre from "./vendor/maplibre-gl.mjs";
import { ask, isBusy, pause, rest } from "./ask.js";
import { explained } from "./explained.js";
import { orders } from "./order.js";

maplibre.setWorkerUrl(new URL("./vendor/maplibre-gl-worker.mjs", import.meta.url).href);

const FIELDS = ["datetime", "baseline", "style", "formula", "stage", "method"];
const FORMULAS = { bands: "B04,B03,B02", expression: "(B08-B04)/(B08+B04)" };
const THUMB = 32;
const form = document.getElementById("controls");
const field = form.elements;
const told = document.getElementById("told");
const trouble = document.getElementById("trouble");
const swipe = document.getElementById("swipe");
const border = swipe.querySelector("input");
const other = document.getElementById("other");
const legend = document.getElementById("legend");
const badge = document.getElementById("seams");

function warn(message) {
  trouble.textContent = message ?? "";
  trouble.hidden = !message;
}

addEventListener("unhandledrejection", ({ reason }) => warn(reason.message));
addEventListener("error", ({ message }) => warn(message));
const fill = (select, options) => select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));

const saved = new URLSearchParams(location.hash.slice(1));
let { collections } = await ask("mosaics");
while (!collections.length) {
  await ask("readyz").catch(({ message }) => warn(message));
  await new Promise((go) => setTimeout(go, 3000));
  ({ collections } = await ask("mosaics"));
}
warn();
fill(field.mosaic, collections.map((c) => [c.id, c.title || c.id]));
if (saved.get("mosaic")) field.mosaic.value = saved.get("mosaic");

const merges = (stage) => ["merged", "normalized"].includes(stage);
const compares = (stage) => !["raw", "mask"].includes(stage);
const states = [{}, {}];
const shown = ["", ""];
const ready = new Set();
let moments = [];
let seams = [];
let drawings = 0;
let playing;
let run = 0;

function describe() {
  const mosaic = collections.find((c) => c.id === field.mosaic.value) ?? collections[0];
  field.mosaic.value = mosaic.id;
  const periods = mosaic["terrazzo:periods"];
  fill(field.datetime, periods.map((p) => [p.name, `${p.name} (${p.start} – ${p.end})`]));
  fill(field.baseline, [["", "–"], ...periods.map((p) => [p.name, p.name])]);
  moments = periods.filter((p) => !p.members.length).sort((a, b) => a.end.localeCompare(b.end)).map((p) => p.name);
  field.datetime.value = moments.at(-1);
  form.querySelector(".time").hidden = form.querySelector(".since").hidden = moments.length < 2;
  field.time.max = moments.length - 1;
  fill(field.style, [...Object.entries(mosaic["terrazzo:styles"]),
    ["bands", "Bands …"], ["expression", "Expression …"]]);
  field.export.hidden = !mosaic.links.some(({ rel }) => rel.endsWith("/execute"));
  seams = [];
  ask(`mosaics/${mosaic.id}/seams`).then((found) => {
    if (field.mosaic.value !== mosaic.id) return;
    seams = found.seams;
    dress();
  });
  return mosaic;
}

// What the form says of one side, and the form as one side says.
const read = () => Object.fromEntries(FIELDS.map((name) => [name, field[name].value]));

function write(state) {
  for (const name of FIELDS) {
    const control = field[name];
    if (state[name] != null) control.value = state[name];
    if (control.options && !control.value) control.selectedIndex = 0;
  }
  dress();
}

function dress() {
  const { stage, style } = read();
  field.normalize.checked = stage === "normalized";
  field.normalize.disabled = field.method.disabled = !merges(stage);
  field.baseline.disabled = !compares(stage);
  const label = form.querySelector(".formula");
  label.hidden = !(style in FORMULAS);
  label.querySelector("span").textContent = style === "bands" ? "Bands" : "Formula";
  key();
  const moment = moments.indexOf(field.datetime.value);
  field.time.value = Math.max(0, moment);
  field.time.setAttribute("aria-valuetext", field.datetime.value);
  const comparing = field.compare.checked;
  form.querySelector("fieldset").hidden = swipe.hidden = !comparing;
  other.style.visibility = comparing ? "visible" : "hidden";
  const edge = `calc((100% - ${THUMB}px) * ${border.value / 100} + ${THUMB / 2}px)`;
  other.style.setProperty("--border", edge);
  swipe.style.setProperty("--border", edge);
  ["left", "right"].forEach((name, i) => { document.getElementById(name).textContent = caption(states[i]); });
}

// What the colours mean, and how visible borders are, of the side that the form tells of.
function key() {
  const state = read();
  const { datetime, stage, style, method } = state;
  const isChange = "baseline" in since(state);
  const name = stage === "mask" ? "classes" : style;
  legend.hidden = isChange || name in FORMULAS;
  if (!legend.hidden) {
    legend.src = `mosaics/${field.mosaic.value}/legend/${name}.png?${new URLSearchParams({ datetime })}`;
    legend.alt = `Legend: ${stage === "mask" ? "classes of the mask" : field.style.selectedOptions[0].text}`;
  }
  const score = seams.find((s) => s.method === method && s.normalize === (stage === "normalized" ? "on" : "off"));
  badge.hidden = !score || isChange || !merges(stage);
  badge.textContent = `Seam score ${score?.score} (a single day: 1)`;
}

const since = ({ stage, baseline }) => (baseline && compares(stage) ? { baseline } : {});
const caption = (s) => [s.datetime, ...Object.values(since(s)).map((name) => `since ${name}`), s.stage, ...(merges(s.stage) ? [s.method] : [])].join(", ");

function query(state) {
  const q = new URLSearchParams({ datetime: state.datetime, stage: state.stage, ...since(state) });
  if (state.stage === "mask") return q;
  q.set(...(state.style in FORMULAS ? [state.style, state.formula] : ["style", state.style]));
  if (state.style === "expression" && !state.formula.includes(";")) q.set("colormap_name", "rdylgn");
  if (merges(state.stage)) q.set("method", state.method);
  return q;
}

const tells = (name, state) => (name === "formula" ? state.style in FORMULAS : name !== "baseline" || states.some((s) => s.baseline));

function remember() {
  const { lng, lat } = maps[0].getCenter();
  const all = new URLSearchParams({ mosaic: mosaic.id });
  states.slice(0, field.compare.checked ? 2 : 1).forEach((state, i) => {
    for (const name of FIELDS) if (tells(name, state)) all.set(name + (i ? "2" : ""), state[name]);
  });
  if (field.compare.checked) all.set("swipe", border.value);
  all.set("at", [lng.toFixed(4), lat.toFixed(4), maps[0].getZoom().toFixed(2)].join(","));
  history.replaceState(null, "", `#${all}`);
}

async function show(side) {
  const address = `mosaics/${mosaic.id}/WebMercatorQuad/tilejson.json?${query(states[side])}`;
  if (shown[side] === address) return;
  shown[side] = address;
  let tiles;
  try {
    tiles = await ask(address);
  } catch (error) {
    if (shown[side] === address) shown[side] = "";
    throw error;
  }
  if (shown[side] !== address) return;
  const map = maps[side];
  const id = `mosaic-${++drawings}`;
  map.addSource(id, { type: "raster", tiles: tiles.tiles, tileSize: 256, bounds: tiles.bounds,
    minzoom: tiles.minzoom, maxzoom: tiles.maxzoom, attribution: tiles.attribution });
  map.addLayer({ id, type: "raster", source: id, paint: { "raster-fade-duration": 0 } });
  // What was there stays until the new is drawn: no blank map in between.
  map.once("idle", () => map.getStyle().layers.filter((old) => Number(old.id.slice(7)) < Number(id.slice(7))).forEach((old) => {
    map.removeLayer(old.id);
    map.removeSource(old.id);
  }));
}

async function refresh() {
  warn();
  dress();
  if (field.compare.checked) second();
  remember();
  await Promise.all(maps.flatMap((m, i) => (ready.has(m) && (!i || field.compare.checked) ? show(i) : [])));
}

let mark;

async function explain({ lng, lat }, side) {
  const state = states[side];
  const path = `mosaics/${mosaic.id}/explain/${lng.toFixed(6)},${lat.toFixed(6)}?${query(state)}`;
  told.hidden = false;
  told.replaceChildren("…");
  mark?.remove();
  mark = new maplibre.Marker({ color: "#1d6b43" }).setLngLat([lng, lat]).addTo(maps[0]);
  mark.getElement().setAttribute("aria-label", "The place that is explained");
  const close = () => {
    told.hidden = true;
    mark.remove();
  };
  try {
    const found = await ask(path);
    told.replaceChildren(...explained(found, `${path}&f=html`, field.compare.checked ? caption(state) : ""));
  } catch (error) {
    told.replaceChildren(Object.assign(document.createElement("p"), { textContent: error.message }));
  }
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: "×", onclick: close });
  button.setAttribute("aria-label", "Close the explanation");
  told.append(button);
}

const sideAt = (x) => Number(field.compare.checked && x > THUMB / 2 + ((innerWidth - THUMB) * border.value) / 100);

const WORDS = { play: ["Play", "Pause"], steps: ["Show the steps", "Stop"] };

function stop() {
  run++;
  pressed(playing, false);
}

function pressed(name, on) {
  if (!name) return;
  playing = on ? name : undefined;
  field[name].textContent = WORDS[name][Number(on)];
  field[name].setAttribute("aria-pressed", String(on));
}

// One value of a control after the other, each when the one before is drawn, until another run starts or this one is stopped.
async function step(mine, name, values) {
  if (mine !== run) return;
  field[name].value = values[(values.indexOf(field[name].value) + 1) % values.length];
  states[side] = read();
  const drawn = new Promise((go) => maps[side].once("idle", go));
  try {
    await refresh();
  } catch (error) {
    stop();
    throw error;
  }
  await drawn;
  setTimeout(step, name === "stage" ? 1500 : 900, mine, name, values);
}

function toggle(button, name, values) {
  const wasOn = playing === button;
  stop();
  if (wasOn) return;
  pressed(button, true);
  step(run, name, values);
}

let side = 0;
let mosaic = describe();
write(Object.fromEntries(FIELDS.map((name) => [name, saved.get(name)])));
states[0] = read();
states[1] = { ...states[0] };
if (saved.has("swipe")) {
  for (const name of FIELDS) states[1][name] = saved.get(`${name}2`) ?? states[0][name];
  field.compare.checked = true;
  border.value = saved.get("swipe");
}
dress();

// A busy server's tiles are asked for again, later each time, until the map needs them no more. MapLibre itself draws a refused tile
// that is refreshed before its picture is there, and fails.
maplibre.addProtocol("patient", async ({ url }, { signal }) => {
  for (let tried = 0; ; tried++) {
    const answer = await fetch(url.slice("patient://".length), { signal });
    if (answer.ok) return { data: await answer.arrayBuffer(), cacheControl: answer.headers.get("Cache-Control") };
    if (!isBusy(answer.status, tried)) throw Object.assign(new Error(answer.statusText), { status: answer.status });
    await pause(rest(tried));
    signal.throwIfAborted();
  }
});
const transformRequest = (url, type) => (type === "Tile" ? { url: `patient://${url}` } : undefined);
const bare = { style: { version: 8, sources: {}, layers: [] }, transformRequest };
const bounds = () => { const [w, s, e, n] = mosaic.extent.spatial.bbox[0]; return [w, s, e, n]; };
const maps = [new maplibre.Map({ container: "map", ...bare, bounds: bounds(), fitBoundsOptions: { padding: 20 },
  attributionControl: { compact: false } })];
const complain = (error) => warn(error.status ? `A tile is missing: the server answered ${error.status}.` : error.message);

function settled(map) {
  map.on("error", ({ error }) => complain(error));
  map.on("load", () => {
    ready.add(map);
    refresh();
  });
}

function second() {
  if (maps.length > 1) return;
  const map = new maplibre.Map({ container: "other", ...bare, center: maps[0].getCenter(), zoom: maps[0].getZoom(),
    interactive: false, attributionControl: false });
  map.getCanvas().tabIndex = -1;
  maps.push(map);
  settled(map);
}

if (saved.get("at")) {
  const [lng, lat, zoom] = saved.get("at").split(",").map(Number);
  maps[0].jumpTo({ center: [lng, lat], zoom });
}
maps[0].dragRotate.disable();
maps[0].touchZoomRotate.disableRotation();
maps[0].keyboard.disableRotation();
maps[0].addControl(new maplibre.NavigationControl({ showCompass: false }), "bottom-left");
maps[0].addControl(new maplibre.ScaleControl(), "bottom-right");
maps[0].on("move", () => maps[1]?.jumpTo({ center: maps[0].getCenter(), zoom: maps[0].getZoom() }));
maps[0].on("moveend", remember);
maps[0].on("click", ({ lngLat, point }) => order.isDrawing() || explain(lngLat, sideAt(point.x)));
settled(maps[0]);

// An export holds bands, not colours; what a stage does not merge takes no method.
const order = orders(maps[0], () => {
  const { datetime, stage, method } = states[side];
  const days = { datetime, stage, ...(merges(stage) ? { method } : {}) };
  return { mosaic: mosaic.id, inputs: { ...days, ...since(states[side]) }, query: new URLSearchParams(days) };
});

border.addEventListener("input", dress);
border.addEventListener("change", remember);
field.explain.addEventListener("click", () => explain(maps[0].getCenter(), field.compare.checked ? side : 0));
field.play.addEventListener("click", () => toggle("play", "datetime", moments));
field.steps.addEventListener("click", () => toggle("steps", "stage", [...field.stage.options].map(({ value }) => value).reverse()));
field.export.addEventListener("click", () => {
  const { style, formula } = states[side];
  order.open(style === "bands" ? formula : Object.keys(mosaic.item_assets).join(","));
});
form.addEventListener("change", ({ target }) => {
  if (target.name === "mosaic") {
    stop();
    mosaic = describe();
    maps[0].fitBounds(bounds(), { padding: 20 });
    write({});
    states[0] = states[1] = read();
  }
  if (target.name === "side" || target.name === "compare") {
    side = field.compare.checked ? Number(field.side.value) : 0;
    write(states[side]);
  }
  if (target.name === "normalize") field.stage.value = target.checked ? "normalized" : "merged";
  if (target.name === "time") field.datetime.value = moments[target.value];
  if (target.name === "style") field.formula.value = FORMULAS[target.value] ?? "";
  states[side] = read();
  refresh();
  order.look();
});
form.addEventListener("submit", (event) => event.preventDefault());
form.removeAttribute("aria-busy");
