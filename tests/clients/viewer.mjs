// Drives the map page in Chromium: swipe, switches, account of a pixel, area, colours, play, link, keyboard, phone, visible errors.
// Prints what it saw as JSON.
// usage: node viewer.mjs ADDRESS FOLDER, with NODE_MODULES
import { readFileSync } from "node:fs";
import { dragged, hashHas, LONG, opened, press, quiet, start, until, watched } from "./page.mjs";

const [address, folder] = process.argv.slice(2);
const browser = await start();
const seen = { problems: [] };
const picture = (page, name) => page.screenshot({ path: `${folder}/${name}.jpg`, type: "jpeg", quality: 82 });
const parameters = (r) => r.url().includes("/tiles/") && new URL(r.url()).searchParams;
function asked(page) {
  const tiles = [];
  page.on("request", (r) => parameters(r) && tiles.push(parameters(r)));
  return tiles;
}
const explained = async (page) => {
  await page.waitForSelector("#told svg", LONG);
  return page.textContent("#told");
};
async function saved(page, selector) {
  const [download] = await Promise.all([page.waitForEvent("download", LONG), page.click(selector)]);
  return readFileSync(await download.path(), "utf8");
}
try {
  const page = watched(await browser.newPage({ viewport: { width: 1366, height: 768 } }), seen.problems, true);
  const tiles = asked(page);
  await opened(page, address);
  seen.title = [await page.textContent("h1"), await page.title()];
  seen.first = [...new Set(tiles.map((t) => `${t.get("stage")} ${t.get("datetime")}`))].sort();
  seen.sides = await page.$$eval(".pill", (all) => all.map((p) => `${p.querySelector("select").selectedOptions[0].text}, ${p.querySelector("small").textContent}`));
  seen.days = await page.$$eval("#days button", (all) => all.map((b) => b.ariaLabel));
  seen.still = await page.isHidden(".time");
  await picture(page, "map");
  await page.focus("#swipe input");
  const from = Number(await page.inputValue("#swipe input"));
  for (let i = 0; i < 10; i++) await page.keyboard.press("ArrowLeft");
  await hashHas(page, `swipe=${from - 5}`);

  await page.click("#days button:nth-child(4)");
  await until(() => tiles.some((t) => t.get("stage") === "raw" && t.get("datetime") === "2023-08-18"));
  await page.click("#more summary");
  tiles.length = 0;
  await press(page, "input[name=normalize]", "Space");
  await until(() => tiles.some((t) => t.get("stage") === "merged"));
  seen.stage = await page.inputValue("select[name=stage]");
  seen.score = await page.textContent("#seams");

  // A pixel, and its whole account at three widths.
  await page.mouse.click(900, 400);
  seen.told = await explained(page);
  await quiet(page);
  await picture(page, "map-explained");
  await page.click("#told summary:has-text('Numbers')");
  seen.series = await saved(page, "#told details button");
  const whole = watched(await browser.newPage(), seen.problems);
  await whole.goto(await page.$eval("#told a", (a) => a.href), LONG);
  seen.page = await whole.textContent("body");
  seen.cut = [];
  for (const width of [1920, 1366, 1024, 390]) {
    await whole.setViewportSize({ width, height: 800 });
    if (await whole.evaluate(() => document.documentElement.scrollWidth > innerWidth)) seen.cut.push(width);
  }
  await page.keyboard.press("Escape");
  seen.escaped = await page.isHidden("#told");

  // A formula with its legend, stretched to what is in view; an area in numbers.
  await page.selectOption("select[name=style]", "expression");
  await page.fill("input[name=formula]", "(B03-B08)/(B03+B08)");
  await page.keyboard.press("Enter");
  await until(() => tiles.some((t) => t.get("expression") === "(B03-B08)/(B03+B08)"));
  await press(page, "button[name=colours]");
  await page.waitForSelector("#colours svg", LONG);
  await page.selectOption("#colours select", "viridis");
  await press(page, "#colours [name=fit]");
  await until(() => tiles.some((t) => t.get("colormap_name") === "viridis" && t.get("rescale") !== "-1,1" && t.get("rescale")));
  seen.range = (await page.$$eval("#colours input", (all) => all.map((i) => Number(i.value))));
  await page.waitForFunction(() => document.querySelector("#legend img"), null, LONG);
  seen.legend = await page.textContent("#legend");
  await press(page, "button[name=area]");
  await press(page, "#area [name=draw]");
  await dragged(page, [[800, 300], [880, 300], [880, 380], [800, 380], [800, 305]]);
  await page.waitForFunction(() => document.querySelectorAll("#area tbody tr").length === 5, null, LONG);
  await quiet(page);
  await picture(page, "map-area");
  await page.click("#area summary");
  seen.area = await saved(page, "#area details button");
  await press(page, "button[name=share]");
  seen.links = await page.$$eval("#share input", (all) => all.map((i) => i.value));
  seen.qgis = await page.$eval("#share a", (a) => a.href);
  await page.keyboard.press("Escape");
  await page.selectOption("select[name=style]", "natural");

  // Another picture at the right only; the link brings it back.
  await page.selectOption("select[name=stage]", "mask");
  await until(() => tiles.some((t) => t.get("stage") === "mask"));
  await hashHas(page, "stage2=mask");
  await quiet(page);
  seen.link = page.url();
  await page.mouse.click(1000, 300);
  seen.right = await explained(page);
  seen.attribution = await page.textContent(".ol-attribution");

  // Tab reaches every control that can be used.
  await page.focus("select[name=datetime]");
  const reached = new Set();
  for (let i = 0; i < 45; i++) {
    reached.add(await page.evaluate(() => document.activeElement.name || document.activeElement.getAttribute("aria-label")));
    await page.keyboard.press("Tab");
  }
  seen.reached = [...reached];

  const phone = watched(await browser.newPage({ viewport: { width: 390, height: 844 }, hasTouch: true, deviceScaleFactor: 3 }), seen.problems);
  const sharp = [];
  phone.on("request", (r) => parameters(r) && sharp.push(r.url().includes("@2x")));
  await opened(phone, seen.link);
  seen.linked = [await phone.inputValue("select[name=stageleft]"), await phone.inputValue("select[name=stage]")];
  seen.sharp = sharp.length > 0 && sharp.every(Boolean);
  // Rows of the page in whose middle the map itself is seen.
  const free = () => phone.evaluate(() => [...Array(innerHeight).keys()].filter((y) => document.elementFromPoint(innerWidth / 3, y)?.closest("#map")).length / innerHeight);
  seen.free = [await free()];
  await press(phone, "button[name=fold]");
  seen.free.push(await free());
  await press(phone, "button[name=explain]");
  seen.middle = await explained(phone);
  seen.free.push(await free());
  seen.wide = await phone.evaluate(() => document.documentElement.scrollWidth);
  await quiet(phone);
  await picture(phone, "map-pixel-phone");

  // The sample has one period; halves of it are periods as good, since a period is an interval.
  const halves = watched(await browser.newPage({ viewport: { width: 1024, height: 700 } }), seen.problems);
  await halves.route("**/mosaics", async (route) => {
    const answer = await route.fetch();
    const body = await answer.json();
    body.collections[0]["terrazzo:periods"] = [["2023-08-10", "2023-08-14"], ["2023-08-15", "2023-08-20"]]
      .map(([begin, end]) => ({ name: `${begin}/${end}`, start: begin, end, members: [] }));
    await route.fulfill({ response: answer, json: body });
  });
  const played = asked(halves);
  await opened(halves, address);
  await halves.click("input[name=compare]");
  await press(halves, "input[name=time]", "Home");
  await hashHas(halves, "datetime=2023-08-10/2023-08-14");
  await press(halves, "button[name=play]");
  await hashHas(halves, "datetime=2023-08-15");
  await hashHas(halves, "datetime=2023-08-10");
  await halves.keyboard.press("Enter");
  seen.paused = await halves.getAttribute("button[name=play]", "aria-pressed");
  seen.played = [...new Set(played.map((t) => t.get("datetime")))].filter((d) => d.includes("/")).sort();
  await halves.selectOption("select[name=datetime]", "2023-08-15/2023-08-20");
  await halves.click("#more summary");
  await halves.selectOption("select[name=baseline]", "2023-08-10/2023-08-14");
  await until(() => played.some((t) => t.get("baseline") === "2023-08-10/2023-08-14"));
  await halves.mouse.click(600, 350);
  seen.compared = await explained(halves);
  await halves.keyboard.press("Escape");
  await halves.selectOption("select[name=stage]", "mask");
  seen.incomparable = await halves.isDisabled("select[name=baseline]");
  await until(() => played.at(-1).get("stage") === "mask");
  seen.mask = played.at(-1).has("baseline");

  // What is refused is said in words, and asked again; nothing is left uncaught.
  const broken = await browser.newPage();
  const uncaught = [];
  broken.on("pageerror", (e) => uncaught.push(String(e)));
  await broken.route("**/tilejson.json*", (route) =>
    route.fulfill({ status: 503, contentType: "application/json", body: '{"detail": "too many requests wait"}' }));
  await broken.goto(address, { waitUntil: "commit", ...LONG });
  await broken.waitForSelector("#trouble:not([hidden])", LONG);
  seen.trouble = await broken.textContent("#trouble p");
  await broken.unroute("**/tilejson.json*");
  const came = broken.waitForResponse((r) => r.url().includes("/tiles/") && r.ok(), LONG);
  await press(broken, "[name=again]");
  await came;
  await broken.waitForSelector("#trouble", { state: "hidden", ...LONG });
  seen.uncaught = uncaught;

  // A server that is busy for a moment: every second tile, and the document about them, twice.
  const busy = await browser.newPage({ viewport: { width: 800, height: 600 } });
  const refused = new Map();
  const often = (url) => (refused.set(url, (refused.get(url) ?? 0) + 1), refused.get(url));
  await busy.route(/tilejson\.json/, (route) => (often(route.request().url()) > 2 ? route.continue() :
    route.fulfill({ status: 429, headers: { "Retry-After": "1" }, contentType: "application/json", body: '{"detail": "slow down"}' })));
  const served = new Set();
  busy.on("response", (r) => r.url().includes("/tiles/") && r.ok() && served.add(r.url()));
  await busy.route(/\/tiles\/.*\d\.png/, (route) => (Number(route.request().url().match(/(\d)\.png/)[1]) % 2 && often(route.request().url()) < 3
    ? route.fulfill({ status: 429, body: "" }) : route.continue()));
  await opened(busy, address);
  const delayed = [...refused.keys()].filter((url) => url.includes("/tiles/"));
  seen.patient = [delayed.length > 0, delayed.every((url) => served.has(url)), await busy.isHidden("#trouble")];

  // A quota that is used up does not say when to ask again: it is said at once.
  let posts = 0;
  await busy.route("**/exports", (route) => (posts++,
    route.fulfill({ status: 429, contentType: "application/json", body: '{"detail": "at most 10 a key"}' })));
  await press(busy, "button[name=export]");
  await busy.waitForFunction(() => document.querySelector("#order output").textContent.includes("at most"), null, LONG);
  seen.quota = posts;
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
