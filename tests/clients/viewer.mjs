// Drives the map page in Chromium: switches, account of a pixel, play, formula, swipe, link, keyboard, phone, visible errors.
// Prints what it saw as JSON.
// usage: node viewer.mjs ADDRESS FOLDER, with NODE_MODULES
import { createRequire } from "node:module";
import { join } from "node:path";

const { chromium } = createRequire(join(process.env.NODE_MODULES, "x.js"))("playwright-core");
const [address, folder] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"],
});
const LONG = { timeout: 900000 };
const seen = { problems: [] };
const until = async (holds) => {
  for (let i = 0; i < 9000 && !holds(); i++) await new Promise((go) => setTimeout(go, 100));
};
const watched = (page) => {
  page.on("console", (m) => m.type() === "error" && seen.problems.push(m.text()));
  page.on("pageerror", (e) => seen.problems.push(String(e)));
  return page;
};
const hashHas = (page, text) => page.waitForFunction((t) => location.hash.includes(t), text, LONG);
const quiet = (page) => page.waitForLoadState("networkidle", LONG);
const explained = async (page) => {
  await page.waitForSelector("#told h2", LONG);
  return page.textContent("#told");
};
const opened = async (page, at) => {
  await page.goto(at, { waitUntil: "networkidle", ...LONG });
  await page.waitForSelector("#controls:not([aria-busy])", LONG);
};
try {
  const page = watched(await browser.newPage({ viewport: { width: 1024, height: 700 } }));
  const tiles = [];
  page.on("request", (r) => r.url().includes("/tiles/") && tiles.push(r.url()));
  await opened(page, address);
  await until(() => tiles.length > 0);
  seen.first = tiles.length > 0 && tiles.every((t) => t.includes("stage=normalized"));
  seen.still = await page.isHidden(".time");
  tiles.length = 0;
  await page.focus("input[name=normalize]");
  await page.keyboard.press("Space");
  await until(() => tiles.length > 0);
  seen.off = tiles.length > 0 && tiles.every((t) => t.includes("stage=merged"));
  seen.stage = await page.inputValue("select[name=stage]");

  await page.mouse.click(600, 350);
  seen.told = await explained(page);
  await quiet(page);
  await page.screenshot({ path: `${folder}/map-explained.jpg`, type: "jpeg", quality: 82 });
  const whole = watched(await browser.newPage());
  await whole.goto(await page.$eval("#told a", (a) => a.href), LONG);
  seen.page = await whole.textContent("body");
  await page.focus("#told button");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#told", { state: "hidden", ...LONG });

  await page.selectOption("select[name=style]", "expression");
  await page.fill("input[name=formula]", "(B03-B08)/(B03+B08)");
  tiles.length = 0;
  await page.keyboard.press("Enter");
  await until(() => tiles.some((t) => t.includes("expression=%28B03-B08%29")));
  seen.formula = tiles.length > 0;
  await page.selectOption("select[name=style]", "natural");

  await page.focus("input[name=compare]");
  await page.keyboard.press("Space");
  await page.focus("input[name=side]");
  await page.keyboard.press("ArrowRight");
  const masked = page.waitForResponse((r) => r.url().includes("/tiles/") && r.url().includes("stage=mask"), LONG);
  await page.selectOption("select[name=stage]", "mask");
  await masked;
  await page.focus("#swipe input");
  for (let i = 0; i < 10; i++) await page.keyboard.press("ArrowRight");
  await hashHas(page, "swipe=60");
  await hashHas(page, "stage2=mask");
  await quiet(page);
  await page.screenshot({ path: `${folder}/swipe.png` });
  seen.link = page.url();
  await page.mouse.click(900, 350);
  seen.right = await explained(page);
  seen.attribution = await page.textContent("#map .maplibregl-ctrl-attrib");

  // Tab reaches every control that can be used.
  await page.focus("select[name=mosaic]");
  const reached = new Set();
  for (let i = 0; i < 30; i++) {
    reached.add(await page.evaluate(() => document.activeElement.name || document.activeElement.getAttribute("aria-label")));
    await page.keyboard.press("Tab");
  }
  seen.reached = [...reached];

  const phone = watched(await browser.newPage({ viewport: { width: 375, height: 800 }, hasTouch: true }));
  await opened(phone, seen.link);
  seen.linked = [await phone.inputValue("select[name=stage]"), await phone.textContent("#right"), await phone.inputValue("#swipe input")];
  await phone.focus("button[name=explain]");
  await phone.keyboard.press("Enter");
  seen.middle = await explained(phone);
  const box = await phone.locator("#controls").boundingBox();
  seen.fits = box.x >= 0 && box.x + box.width <= 375 && box.height < 400;
  seen.wide = await phone.evaluate(() => document.documentElement.scrollWidth);
  await quiet(phone);
  await phone.screenshot({ path: `${folder}/phone.png` });

  // The sample has one period; halves of it are periods as good, since a period is an interval.
  const halves = watched(await browser.newPage({ viewport: { width: 1024, height: 700 } }));
  await halves.route("**/mosaics", async (route) => {
    const answer = await route.fetch();
    const body = await answer.json();
    body.collections[0]["terrazzo:periods"] = [["2023-08-10", "2023-08-14"], ["2023-08-15", "2023-08-20"]]
      .map(([start, end]) => ({ name: `${start}/${end}`, start, end, members: [] }));
    await route.fulfill({ response: answer, json: body });
  });
  const asked = new Set();
  halves.on("request", (r) => r.url().includes("/tiles/") && asked.add(new URL(r.url()).searchParams.get("datetime")));
  await opened(halves, address);
  await halves.focus("input[name=time]");
  await halves.keyboard.press("Home");
  await hashHas(halves, "datetime=2023-08-10");
  await halves.focus("button[name=play]");
  await halves.keyboard.press("Enter");
  await hashHas(halves, "datetime=2023-08-15");
  await hashHas(halves, "datetime=2023-08-10");
  await halves.keyboard.press("Enter");
  await quiet(halves);
  await halves.screenshot({ path: `${folder}/play.png` });
  seen.played = [...asked].sort();
  seen.paused = await halves.getAttribute("button[name=play]", "aria-pressed");
  const changed = [];
  halves.on("request", (r) => r.url().includes("/tiles/") && changed.push(new URL(r.url()).searchParams));
  await halves.selectOption("select[name=datetime]", "2023-08-15/2023-08-20");
  await quiet(halves);
  changed.length = 0;
  await halves.selectOption("select[name=baseline]", "2023-08-10/2023-08-14");
  await hashHas(halves, "baseline=2023-08-10");
  const compares = (q) => q.get("baseline") === "2023-08-10/2023-08-14";
  await until(() => changed.some(compares));
  seen.changed = changed.some(compares);
  await halves.mouse.click(600, 350);
  seen.compared = await explained(halves);
  await halves.click("#told button");
  await quiet(halves);
  await halves.screenshot({ path: `${folder}/change.png` });
  await halves.selectOption("select[name=stage]", "mask");
  seen.incomparable = await halves.isDisabled("select[name=baseline]");
  await until(() => changed.at(-1).get("stage") === "mask");
  seen.mask = changed.at(-1).has("baseline");

  const broken = await browser.newPage();
  await broken.route("**/tilejson.json*", (route) =>
    route.fulfill({ status: 503, contentType: "application/json", body: '{"detail": "too many requests wait"}' }));
  await broken.goto(address, { waitUntil: "networkidle", ...LONG });
  await broken.waitForFunction(() => document.getElementById("trouble").textContent, null, LONG);
  seen.trouble = await broken.textContent("#trouble");

  // A server that is busy for a moment: every second tile, and the document about them, twice.
  const busy = await browser.newPage({ viewport: { width: 800, height: 600 } });
  const refused = new Map();
  const often = (url) => (refused.set(url, (refused.get(url) ?? 0) + 1), refused.get(url));
  await busy.route(/tilejson\.json/, (route) => (often(route.request().url()) > 2 ? route.continue() :
    route.fulfill({ status: 429, headers: { "Retry-After": "1" }, contentType: "application/json", body: '{"detail": "slow down"}' })));
  const came = new Set();
  busy.on("response", (r) => r.url().includes("/tiles/") && r.ok() && came.add(r.url()));
  await busy.route(/\/tiles\/.*\d\.png/, (route) => (Number(route.request().url().match(/(\d)\.png/)[1]) % 2 && often(route.request().url()) < 3
    ? route.fulfill({ status: 429, body: "" }) : route.continue()));
  await busy.goto(address, { waitUntil: "commit", ...LONG });
  // Coarser tiles, which stand in meanwhile, are given up when those of the view are there.
  const zoom = (url) => Number(url.match(/(\d+)\/\d+\/\d+\.png/)[1]);
  const delayed = () => {
    const urls = [...refused.keys()].filter((url) => url.includes("/tiles/"));
    return urls.filter((url) => zoom(url) === Math.max(...urls.map(zoom)));
  };
  await until(() => delayed().length > 0 && delayed().every((url) => came.has(url)));
  seen.patient = [delayed().length > 0, delayed().every((url) => came.has(url)), await busy.isHidden("#trouble")];

  // A quota that is used up does not say when to ask again: it is told at once.
  const used = await browser.newPage();
  let posts = 0;
  await used.route("**/exports", (route) => (posts++,
    route.fulfill({ status: 429, contentType: "application/json", body: '{"detail": "at most 10 a key"}' })));
  await opened(used, address);
  await used.focus("button[name=export]");
  await used.keyboard.press("Enter");
  await used.waitForFunction(() => document.querySelector("#order output").textContent.includes("at most"), null, LONG);
  seen.quota = posts;
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
