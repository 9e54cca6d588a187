import * as maplibre from "./vendor/maplibre-gl.mjs";

maplibre.setWorkerUrl(new URL("./vendor/maplibre-gl-worker.mjs", import.meta.url).href);

const form = document.getElementById("controls");
const point = document.getElementById("point");
const trouble = document.getElementById("trouble");

function warn(message) {
  trouble.textContent = message ?? "";
  trouble.hidden = !message;
}

const json = async (path) => {
  let answer;
  try {
    answer = await fetch(path);
  } catch {
    throw new Error("The server does not answer. Is it running?");
  }
  const body = await answer.json().catch(() => ({ detail: `The server answered ${answer.status}.` }));
  if (!answer.ok) throw new Error(body.detail);
  return body;
};
addEventListener("unhandledrejection", ({ reason }) => warn(reason.message));
addEventListener("error", ({ message }) => warn(message));
const fill = (select, options) => select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));

const saved = new URLSearchParams(location.hash.slice(1));
const { collections } = await json("mosaics");
fill(form.mosaic, collections.map((c) => [c.id, c.title || c.id]));
if (saved.get("mosaic")) form.mosaic.value = saved.get("mosaic");

let map;

function describe() {
  const mosaic = collections.find((c) => c.id === form.mosaic.value) ?? collections[0];
  form.mosaic.value = mosaic.id;
  const periods = mosaic["terrazzo:periods"];
  fill(form.datetime, periods.map((p) => [p.name, `${p.name} (${p.start} – ${p.end})`]));
  form.datetime.value = periods.filter((p) => !p.members.length).sort((a, b) => a.end.localeCompare(b.end)).at(-1).name;
  fill(form.style, Object.entries(mosaic.renders).map(([name, r]) => [name, r.title]));
  return mosaic;
}

function query() {
  const q = new URLSearchParams({ datetime: form.datetime.value, style: form.elements.style.value, stage: form.stage.value });
  if (["merged", "normalized"].includes(form.stage.value)) q.set("method", form.elements.method.value);
  return q;
}

function remember() {
  const { lng, lat } = map.getCenter();
  const state = query();
  state.set("mosaic", form.mosaic.value);
  state.set("at", [lng.toFixed(4), lat.toFixed(4), map.getZoom().toFixed(2)].join(","));
  history.replaceState(null, "", `#${state}`);
}

async function show() {
  warn();
  form.normalize.checked = form.stage.value === "normalized";
  form.normalize.disabled = !["merged", "normalized"].includes(form.stage.value);
  form.elements.method.disabled = form.normalize.disabled;
  const tiles = await json(`mosaics/${form.mosaic.value}/WebMercatorQuad/tilejson.json?${query()}`);
  if (map.getLayer("mosaic")) map.removeLayer("mosaic");
  if (map.getSource("mosaic")) map.removeSource("mosaic");
  map.addSource("mosaic", { type: "raster", tiles: tiles.tiles, tileSize: 256, bounds: tiles.bounds,
    minzoom: tiles.minzoom, maxzoom: tiles.maxzoom, attribution: tiles.attribution });
  map.addLayer({ id: "mosaic", type: "raster", source: "mosaic", paint: { "raster-fade-duration": 0 } });
  remember();
}

async function tell({ lngLat }) {
  point.textContent = "…";
  try {
    const found = await json(`mosaics/${form.mosaic.value}/point/${lngLat.lng.toFixed(6)},${lngLat.lat.toFixed(6)}?${query()}`);
    const values = found.band_names.map((b, i) => `${b} ${found.values[i]}`).join("  ");
    point.textContent = `${values}\n${found.datetime.slice(0, 10)}, ${found.scene}`;
  } catch (error) {
    point.textContent = error.message;
  }
}

let mosaic = describe();
for (const name of ["datetime", "style", "stage", "method"]) {
  const select = form.elements[name];
  if (saved.get(name)) select.value = saved.get(name);
  if (!select.value) select.selectedIndex = 0;
}
const [w, s, e, n] = mosaic.extent.spatial.bbox[0];
map = new maplibre.Map({ container: "map", style: { version: 8, sources: {}, layers: [] }, bounds: [w, s, e, n],
  fitBoundsOptions: { padding: 20 }, attributionControl: { compact: false } });
if (saved.get("at")) {
  const [lng, lat, zoom] = saved.get("at").split(",").map(Number);
  map.jumpTo({ center: [lng, lat], zoom });
}
map.addControl(new maplibre.NavigationControl({ showCompass: false }), "bottom-left");
map.addControl(new maplibre.ScaleControl(), "bottom-right");
map.on("error", ({ error }) => warn(error.status ? `A tile is missing: the server answered ${error.status}.` : error.message));
map.on("load", show);
map.on("moveend", remember);
map.on("click", tell);
form.addEventListener("change", ({ target }) => {
  if (target.name === "mosaic") {
    mosaic = describe();
    const [w2, s2, e2, n2] = mosaic.extent.spatial.bbox[0];
    map.fitBounds([w2, s2, e2, n2], { padding: 20 });
  }
  if (target.name === "normalize") form.stage.value = target.checked ? "normalized" : "merged";
  show();
});
form.addEventListener("submit", (event) => event.preventDefault());
