// A box of the map as GeoTIFF: drawn or written, its cost and its days told beforehand, its progress while it is made.
import { ask, pause } from "./ask.js";

const SIDES = ["west", "south", "east", "north"];
const form = document.getElementById("order");
const field = form.elements;
const box = document.getElementById("box");
const cost = form.querySelector("[name=cost]");
const days = document.getElementById("days");
const bar = form.querySelector("progress");
const files = document.getElementById("files");

const bounds = () => SIDES.map((side) => Number(field[side].value));
const list = (found) => found.map((d) => `${d.date} ${d.per_cent < 1 ? "< 1" : Math.round(d.per_cent)} %`).join(", ");

function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toPrecision(2)} MB`;
}

// `wanted` tells what is asked for beside the box: {mosaic, query, inputs}.
export function orders(map, wanted) {
  let looks = 0;
  let latest = new AbortController();
  let job = "";
  let from;

  const key = () => field.key.value || undefined;
  const exports = () => `mosaics/${wanted().mosaic}/exports`;

  function refuse(error) {
    if (error.status === 401) form.querySelector(".key").hidden = false;
    cost.textContent = error.message;
  }

  function outline() {
    const [west, south, east, north] = bounds();
    const [a, b] = [map.project([west, north]), map.project([east, south])];
    Object.assign(box.style, { left: `${a.x}px`, top: `${a.y}px`, width: `${b.x - a.x}px`, height: `${b.y - a.y}px` });
    box.hidden = form.hidden || !(b.x > a.x && b.y > a.y);
  }

  async function look() {
    const mine = ++looks;
    // What is not wanted any more is not asked for again either.
    latest.abort();
    latest = new AbortController();
    const { signal } = latest;
    outline();
    if (form.hidden || job) return;
    cost.textContent = "…";
    days.textContent = "";
    const { mosaic, query, inputs } = wanted();
    const order = { ...inputs, bbox: bounds(), bands: field.bands.value, dry_run: true };
    const [told, shown] = await Promise.allSettled([
      ask(exports(), { method: "POST", body: order, key: key(), signal }),
      ask(`mosaics/${mosaic}/dates/${bounds()}?${query}`, { signal }),
    ]);
    if (mine !== looks) return;
    if (shown.value) days.textContent = `Days shown: ${list(shown.value.dates)}`;
    if (told.reason) return refuse(told.reason);
    const { width, height, bands, bytes, scenes, seconds } = told.value;
    cost.textContent = `${width} × ${height} px, ${bands} ${bands === 1 ? "band" : "bands"}, ${scenes.length} scenes, ` +
      `${size(bytes)}, about ${Math.max(1, Math.round(seconds))} s`;
  }

  function working(on) {
    field.send.disabled = on;
    field.cancel.hidden = bar.hidden = !on;
    if (!on) job = "";
  }

  async function send(event) {
    event.preventDefault();
    looks++;
    field.send.disabled = true;
    cost.textContent = "…";
    files.replaceChildren();
    bar.value = 0;
    try {
      const body = { ...wanted().inputs, bbox: bounds(), bands: field.bands.value };
      job = `${exports()}/${(await ask(exports(), { method: "POST", body, key: key() })).jobID}`;
      working(true);
      await follow(job);
    } catch (error) {
      refuse(error);
    }
    working(false);
  }

  async function follow(mine) {
    for (;;) {
      const told = await ask(mine, { key: key() });
      bar.value = told.progress;
      cost.textContent = `${told.status}, ${told.progress} %`;
      if (told.status === "successful") break;
      if (told.status === "failed" || told.status === "dismissed") throw new Error(told.message || `The export is ${told.status}.`);
      await pause(0.5);
    }
    const found = await ask(`${mine}/results`, { key: key() });
    files.replaceChildren(...Object.entries(found).map(([name, { length }]) => {
      const query = key() ? `?${new URLSearchParams({ api_key: key() })}` : "";
      const link = Object.assign(document.createElement("a"), { href: `${mine}/results/${name}${query}`, textContent: name, download: name });
      const item = document.createElement("li");
      item.append(link, ` ${size(length)}`);
      return item;
    }));
    cost.textContent = "Done.";
  }

  function drawing(on) {
    field.draw.setAttribute("aria-pressed", String(on));
    form.classList.toggle("drawing", on);
    map.getCanvas().style.cursor = on ? "crosshair" : "";
    map.dragPan[on ? "disable" : "enable"]();
    from = undefined;
  }

  const isDrawing = () => field.draw.getAttribute("aria-pressed") === "true";
  const degrees = (value) => String(Math.round(value * 1e5) / 1e5);

  function write(west, south, east, north) {
    [west, south, east, north].forEach((value, i) => { field[SIDES[i]].value = degrees(value); });
    outline();
  }

  function start({ lngLat }) {
    if (isDrawing()) from = lngLat;
  }

  function stretch({ lngLat }) {
    if (!from) return;
    write(Math.min(from.lng, lngLat.lng), Math.min(from.lat, lngLat.lat), Math.max(from.lng, lngLat.lng), Math.max(from.lat, lngLat.lat));
  }

  function end() {
    if (!from) return;
    // The click that ends the drawing is no question about a pixel.
    setTimeout(drawing, 0, false);
    from = undefined;
    look();
  }

  for (const name of ["mousedown", "touchstart"]) map.on(name, start);
  for (const name of ["mousemove", "touchmove"]) map.on(name, stretch);
  for (const name of ["mouseup", "touchend"]) map.on(name, end);
  map.on("move", outline);
  field.draw.addEventListener("click", () => drawing(!isDrawing()));
  form.addEventListener("submit", send);
  form.addEventListener("change", look);
  field.cancel.addEventListener("click", () => ask(job, { method: "DELETE", key: key() }).catch(refuse));

  function close() {
    form.hidden = true;
    drawing(false);
    outline();
    document.querySelector("[name=export]").focus();
  }
  field.close.addEventListener("click", close);
  form.addEventListener("keydown", (event) => event.key === "Escape" && close());

  return {
    isDrawing,
    look,
    // Opens the form with the middle of the map as box.
    open(bands) {
      form.hidden = false;
      field.bands.value = bands;
      const b = map.getBounds();
      const [w, h] = [(b.getEast() - b.getWest()) / 4, (b.getNorth() - b.getSouth()) / 4];
      write(b.getWest() + w, b.getSouth() + h, b.getEast() - w, b.getNorth() - h);
      field.draw.focus();
      look();
    },
  };
}
