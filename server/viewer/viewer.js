// The page: what the form, the pills and the timeline say becomes two pictures, and the page's address.
import { measureArea } from "./area.js";
import { ask, pause } from "./ask.js";
import { chooseFirst } from "./begin.js";
import { closeStale, renewCard } from "./cards.js";
import { stretchColours } from "./colours.js";
import { legend } from "./legend.js";
import { SwipeMap } from "./map.js";
import { orders } from "./order.js";
import { explainPixel } from "./pixel.js";
import { shareView } from "./share.js";
import { complain, loading, whileBusy } from "./signs.js";
import { address, compares, FIELDS, FORMULAS, measured, query, remembered } from "./state.js";
import { cloudiest, drawTimeline, markDay } from "./timeline.js";
import { merges, STAGES, title, when } from "./words.js";

const [LEFT, MAIN] = [0, 1];
// The title that the operator gave; the page's own follows the picture.
const SITE = document.title;
const THUMB = 48;
// Seconds between looks for what replaces a first look.
const FOLLOWED = 2;
const DAYS = /^\d{4}(-\d\d){0,2}(\/|$)/;
const PHONE = matchMedia("(max-width: 640px)");
const WORDS = { play: ["Play", "Pause"], steps: ["Show the steps", "Stop"] };
const form = document.getElementById("controls");
const field = form.elements;
const swipe = document.getElementById("swipe");
const border = swipe.querySelector("input");
const badge = document.getElementById("seams");
const fill = (select, options) => select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));

const states = [{}, {}];
const shown = ["", ""];
// Versions of first looks that the sides show; the mosaic will replace them.
const looks = [undefined, undefined];
let collections = [];
let mosaic;
let periods = [];
let moments = [];
let seams = [];
let calendar = { days: [], tiles: 0 };
let readings = 0;
// Of each side the day that was picked, and what was shown before.
const picked = [{}, {}];
let playing;
let run = 0;
let map;
let order;
let listening = false;

// ---- what the form says

const comparing = () => field.compare.checked;
const sides = () => (comparing() ? [LEFT, MAIN] : [MAIN]);
// The sides that the menus change, and the one that they tell of.
const edited = () => (!comparing() || field.side.value === "both" ? sides() : [Number(field.side.value)]);
const side = () => edited().at(-1);

function describe() {
  mosaic = collections.find((c) => c.id === field.mosaic.value) ?? collections[0];
  field.mosaic.value = mosaic.id;
  form.querySelector(".mosaics").hidden = collections.length < 2;
  document.getElementById("brand").textContent = mosaic.title && mosaic.title !== mosaic.id ? mosaic.title : SITE;
  periods = mosaic["terrazzo:periods"];
  fill(field.datetime, periods.map((p) => [p.name, when(p.name, periods)]));
  fill(field.baseline, [["", "–"], ...periods.map((p) => [p.name, when(p.name, periods)])]);
  moments = periods.filter((p) => !p.members.length).sort((a, b) => a.end.localeCompare(b.end)).map((p) => p.name);
  field.datetime.value = moments.at(-1);
  document.querySelector(".time").hidden = form.querySelector(".since").hidden = moments.length < 2;
  field.time.max = moments.length - 1;
  fill(field.style, [...Object.entries(mosaic["terrazzo:styles"]), ["bands", "Bands …"], ["expression", "Formula …"]]);
  for (const name of ["stage", "stageleft"]) fill(field[name], Object.entries(STAGES));
  field.stage.value = "normalized";
  field.export.hidden = !mosaic.links.some(({ rel }) => rel.endsWith("/execute"));
  seams = [];
  ask(`mosaics/${mosaic.id}/seams`).then((scores) => {
    if (scores.version === mosaic["terrazzo:version"]) seams = scores.seams;
    dress();
  }, () => {});
}

function defaults() {
  return { datetime: moments.at(-1), baseline: "", style: field.style.options[0].value, formula: "", stage: "normalized",
    method: field.method.options[0].value, colormap: "", rescale: "" };
}

// The form as one side says. A day is no period: it gets a line of its own in the menu.
function write(state) {
  if (![...field.datetime.options].some((o) => o.value === state.datetime)) field.datetime.add(new Option(when(state.datetime), state.datetime));
  for (const name of ["datetime", "baseline", "style", "formula", "method"]) {
    field[name].value = state[name];
    if (field[name].options && field[name].selectedIndex < 0) field[name].selectedIndex = 0;
  }
  dress();
}

function dress() {
  const state = states[side()];
  const on = comparing();
  field.stage.value = states[MAIN].stage;
  field.stageleft.value = states[LEFT].stage ?? "raw";
  for (const [name, i] of [["stageleft", LEFT], ["stage", MAIN]]) field[name].options[0].disabled = states[i].style === "expression";
  document.querySelector(".pill.left").hidden = swipe.hidden = form.querySelector("fieldset").hidden = !on;
  document.querySelectorAll(".pill").forEach((pill, i) => { pill.querySelector("small").textContent = on ? sideDay(states[i]) : sideDay(states[MAIN]); });
  field.normalize.checked = state.stage === "normalized";
  field.normalize.disabled = field.method.disabled = !merges(state.stage);
  field.baseline.disabled = !compares(state.stage);
  document.getElementById("meaning").textContent = `${field.method.value}: ${field.method.selectedOptions[0]?.title ?? ""}`;
  const label = form.querySelector(".formula");
  label.hidden = !(state.style in FORMULAS);
  label.querySelector("span").textContent = state.style === "bands" ? "Bands" : "Formula";
  field.time.value = Math.max(0, moments.indexOf(states[MAIN].datetime));
  field.time.setAttribute("aria-valuetext", when(states[MAIN].datetime, periods));
  const text = title(states[MAIN], periods);
  form.querySelector("h1").textContent = text;
  document.title = text;
  document.getElementById("lead").hidden = !on;
  markDay(sides().map((i) => states[i].datetime));
  const score = seams.find((s) => s.method === state.method && s.normalize === (state.stage === "normalized" ? "on" : "off"));
  badge.hidden = !score || Boolean(state.baseline) || !merges(state.stage);
  badge.textContent = `Seam score ${score?.score}: how far steps at scene borders exceed the land's own steps. 1 is what a single day shows; at 0 only the land's own steps are left.`;
  placeBorder();
}

const sideDay = (state) => [when(state.datetime, periods), ...(state.baseline && compares(state.stage) ? [`since ${when(state.baseline, periods)}`] : [])].join(", ");
const caption = (state) => [STAGES[state.stage], sideDay(state), ...(merges(state.stage) ? [`blending: ${state.method}`] : [])].join(" · ");

function placeBorder() {
  const share = (border.value / 100) * (innerWidth - THUMB) + THUMB / 2;
  swipe.style.setProperty("--border", `${share}px`);
  map?.swipe(comparing() ? share / innerWidth : 0);
}

let keys = 0;

async function dressLegend() {
  const mine = ++keys;
  const days = calendar.days.length ? [calendar.days[0].date, calendar.days.at(-1).date] : undefined;
  const content = await legend(states[side()], mosaic, days).catch(() => []);
  if (mine === keys) document.getElementById("legend").replaceChildren(...content);
}

// ---- what the map shows

const worried = (error) => complain(error, anew);

function remember() {
  history.replaceState(null, "", address({ mosaic: mosaic.id, states: sides().map((i) => states[i]), swipe: comparing() ? border.value : null, at: map.at }));
}

async function show(which) {
  const path = `mosaics/${mosaic.id}/WebMercatorQuad/tilejson.json?${query(states[which], mosaic)}`;
  if (shown[which] === path) return;
  shown[which] = path;
  try {
    const tiles = await ask(path);
    if (shown[which] !== path) return;
    looks[which] = tiles["terrazzo:state"] === "live" ? tiles["terrazzo:version"] : undefined;
    await map.show(which, tiles);
  } catch (error) {
    if (shown[which] === path) shown[which] = "";
    throw error;
  }
}

async function draw() {
  dress();
  remember();
  dressLegend();
  try {
    await whileBusy(() => Promise.all(sides().map(show)));
  } catch (error) {
    complain(error, anew);
    return false;
  }
  return true;
}

function refresh() {
  complain();
  return draw();
}

function anew() {
  shown.fill("");
  return draw();
}

// The days of the period; without a wish for another, the left picture is the day that shows best what clouds do.
// Says whether it was the last to ask: a late answer to an older question changes nothing.
async function readDays(datetime) {
  const mine = ++readings;
  const answer = await ask(`mosaics/${mosaic.id}/days?${new URLSearchParams({ datetime })}`).catch((error) => mine === readings && worried(error));
  if (mine !== readings) return false;
  if (answer) {
    calendar = { ...answer, period: datetime };
    drawTimeline(calendar, pickDay);
    document.getElementById("timeline").hidden = calendar.days.length < 2 && moments.length < 2;
  }
  return true;
}

const asAcquired = (state) => ({ ...state, baseline: "", stage: state.style === "expression" ? "corrected" : "raw", datetime: (periods.some((p) => p.name === state.datetime) && cloudiest(calendar)) || state.datetime });

function pickDay(day) {
  const which = comparing() ? LEFT : MAIN;
  const shows = states[which].datetime;
  if (shows === day) states[which].datetime = picked[which].day === day ? picked[which].before : calendar.period;
  else {
    if (shows !== picked[which].day) picked[which].before = shows;
    picked[which].day = day;
    states[which].datetime = day;
  }
  write(states[side()]);
  refresh();
  tellAgain();
}

// What is open beside the map describes the picture that is shown.
function tellAgain() {
  order.look();
  renewCard();
}

function stop() {
  run++;
  if (playing) tellAgain();
  pressed(playing, false);
}

function pressed(name, on) {
  if (!name) return;
  playing = on ? name : undefined;
  field[name].textContent = WORDS[name][Number(on)];
  field[name].setAttribute("aria-pressed", String(on));
}

// One value after the other, each when the one before is drawn, until another run starts or this one is stopped.
async function step(mine, name, values) {
  if (mine !== run) return;
  states[MAIN][name] = values[(values.indexOf(states[MAIN][name]) + 1) % values.length];
  write(states[side()]);
  if (!await refresh()) return stop();
  setTimeout(step, name === "stage" ? 1500 : 900, mine, name, values);
}

function toggle(button, name, values) {
  const wasOn = playing === button;
  stop();
  if (wasOn) return;
  pressed(button, true);
  step(run, name, values);
}

function compare() {
  if (comparing()) states[LEFT] = asAcquired(states[MAIN]);
  else field.side.value = "both";
  write(states[side()]);
}

async function changeMosaic() {
  stop();
  closeStale();
  picked.forEach((side) => { side.day = undefined; });
  describe();
  Object.assign(states[MAIN], defaults());
  fitted();
  if (await readDays(states[MAIN].datetime) && comparing()) states[LEFT] = asAcquired(states[MAIN]);
  write(states[side()]);
}

async function changeTime(datetime) {
  for (const i of edited()) states[i].datetime = datetime;
  if (await readDays(datetime) && edited().length > 1 && states[LEFT].stage === "raw") states[LEFT] = asAcquired({ ...states[LEFT], datetime });
}

// The products' own numbers may hold offsets, so that no formula is computed of them: the step after them stands in meanwhile.
function changeStyle(state, style) {
  if (style === "expression" && state.stage === "raw") state.stage = "corrected";
  else if (state.style === "expression" && state === states[LEFT] && state.stage === "corrected") state.stage = "raw";
  Object.assign(state, { style, formula: FORMULAS[style] ?? "", rescale: "", colormap: "" });
}

async function changed({ target }) {
  const { name, value, checked } = target;
  if (name === "mosaic") await changeMosaic();
  else if (name === "compare") compare();
  else if (name === "side") write(states[side()]);
  else if (name === "stage") states[MAIN].stage = value;
  else if (name === "stageleft") states[LEFT].stage = value;
  else if (name === "normalize") edited().filter((i) => merges(states[i].stage)).forEach((i) => { states[i].stage = checked ? "normalized" : "merged"; });
  else if (name === "datetime" || name === "time") await changeTime(name === "time" ? moments[value] : value);
  else if (name === "style") edited().forEach((i) => changeStyle(states[i], value));
  else if (FIELDS.includes(name)) edited().forEach((i) => { states[i][name] = value; });
  else return;
  write(states[side()]);
  if (["style", "formula", "mosaic", "side"].includes(name)) order.of(ordered());
  refresh();
  tellAgain();
}

// ---- the page

function fold(open) {
  field.fold.setAttribute("aria-expanded", String(open));
  document.getElementById("panel").hidden = !open;
}

function padding() {
  const head = form.getBoundingClientRect();
  return PHONE.matches ? [head.height + 76, 12, 130, 12] : [76, 30, 120, head.right + 24];
}

const fitted = () => map.fit(mosaic.extent.spatial.bbox[0], padding(), PHONE.matches ? 0.9 : 0);
const ordered = () => (states[side()].style in FORMULAS ? states[side()].formula : Object.keys(mosaic.item_assets).join(","));
const view = () => ({ mosaic, state: states[side()] });

function explain(place, which) {
  if (PHONE.matches) fold(false);
  tell(place, which);
}

function tell(place, asked) {
  const which = sides().includes(asked) ? asked : MAIN;
  explainPixel(mosaic, place, { state: { ...states[which] }, name: caption(states[which]) }, () => map.outlined(), () => tell(place, which));
  map.mark(place);
}

function listen() {
  border.addEventListener("input", placeBorder);
  border.addEventListener("change", remember);
  addEventListener("resize", placeBorder);
  addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    worried(event.reason);
  });
  const card = (name, open) => field[name].addEventListener("click", () => {
    if (PHONE.matches) fold(false);
    open();
  });
  card("explain", () => explain(map.at, side()));
  card("area", () => measureArea(map, view));
  card("share", () => shareView(view));
  card("colours", () => stretchColours(map, view, (chosen) => {
    edited().forEach((i) => Object.assign(states[i], chosen));
    refresh();
  }));
  card("export", () => order.open(ordered()));
  field.fold.addEventListener("click", () => fold(field.fold.getAttribute("aria-expanded") !== "true"));
  field.play.addEventListener("click", () => toggle("play", "datetime", moments));
  field.steps.addEventListener("click", () => toggle("steps", "stage", Object.keys(STAGES).filter((s) => s !== "raw" || states[MAIN].style !== "expression")));
  form.addEventListener("change", changed);
  for (const name of ["stage", "stageleft", "time"]) field[name].addEventListener("change", changed);
  form.addEventListener("submit", (event) => event.preventDefault());
}

function made() {
  if (map) return;
  map = new SwipeMap({
    target: "map", labels: document.body.dataset.labels, labelsAttribution: document.body.dataset.labelsAttribution,
    busy: loading,
    trouble: (error) => complain(error, anew),
    clicked: (place, which) => mosaic && explain(place, which),
    moved: () => mosaic && order && remember(),
  });
  // What a stage does not merge takes no blending.
  order = orders(map, () => ({ mosaic: mosaic.id, inputs: measured(states[side()]), isFormula: states[side()].style === "expression",
    query: new URLSearchParams(measured({ ...states[side()], baseline: "" })) }));
}

// While a first look is shown, the page asks for what replaces it; the look stays until that is drawn.
async function follow() {
  for (;;) {
    await pause(FOLLOWED);
    if (!looks[MAIN] || document.hidden || !shown[MAIN]) continue;
    try {
      const { "terrazzo:version": version } = await ask(shown[MAIN]);
      if (looks[MAIN] && version !== looks[MAIN]) await take((await ask("mosaics")).collections);
    } catch {
      // A server that is away for a moment takes no map away; the next look may find it.
    }
  }
}

async function take(newer) {
  collections = newer;
  const { id } = mosaic;
  fill(field.mosaic, collections.map((c) => [c.id, c.title || c.id]));
  field.mosaic.value = id;
  describe();
  for (const state of states) if (!periods.some((p) => p.name === state.datetime) && !DAYS.test(state.datetime)) state.datetime = moments.at(-1);
  await readDays(periods.some((p) => p.name === calendar.period) ? calendar.period : moments.at(-1));
  write(states[side()]);
  await anew();
  tellAgain();
}

// The mosaics; where there is none yet, the map helps to choose a first place until there is one.
async function existing() {
  const listed = async () => ({ collections } = await ask("mosaics")).collections;
  if ((await whileBusy(listed)).length) return;
  // `terrazzo live` has a place already, whose first look is on its way.
  if ("looks" in document.body.dataset) return whileBusy(() => looked(listed));
  made();
  const chosen = await chooseFirst(map);
  do {
    await ask("readyz").then(() => chosen.says(), (error) => chosen.says(error.message));
    await pause(3);
  } while (!(await listed().catch(() => [])).length);
  chosen.end();
}

async function looked(listed) {
  const sign = document.getElementById("busy");
  const text = sign.textContent;
  sign.textContent = "The first look is on its way …";
  while (!(await listed().catch(() => [])).length) await pause(1);
  sign.textContent = text;
}

async function start() {
  try {
    await existing();
  } catch (error) {
    return complain(error, start);
  }
  complain();
  fill(field.mosaic, collections.map((c) => [c.id, c.title || c.id]));
  const saved = remembered(location.hash);
  if (saved.mosaic) field.mosaic.value = saved.mosaic;
  describe();
  field.compare.checked = saved.swipe != null || !saved.any;
  // A link to one picture has it at the first place.
  Object.assign(states[MAIN], defaults(), saved.states[comparing() ? MAIN : LEFT]);
  Object.assign(states[LEFT], defaults(), saved.states[LEFT]);
  fold(!PHONE.matches);
  made();
  if (!listening) {
    listening = true;
    listen();
    follow();
  }
  const head = PHONE.matches ? 0 : form.getBoundingClientRect().right;
  border.value = saved.swipe ?? 100 * ((head + innerWidth) / 2 / innerWidth);
  const whole = periods.some((p) => p.name === states[MAIN].datetime) ? states[MAIN].datetime : moments.at(-1);
  const known = readDays(whole);
  if (saved.at) map.at = saved.at;
  else fitted();
  if (!saved.any) {
    await known;
    states[LEFT] = asAcquired(states[MAIN]);
  }
  write(states[side()]);
  form.removeAttribute("aria-busy");
  await draw();
}

start();
