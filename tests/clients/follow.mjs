// Changes what the map page shows while cards are open and answers come late, and waits for a first look to be replaced.
// Prints what it saw as JSON: of the look, then, once that is replaced, of all.
// usage: node follow.mjs ADDRESS LIVE FOLDER, with NODE_MODULES; LIVE is the address of a server that shows a first look
import { hashHas, LONG, opened, press, quiet, start, until, watched } from "./page.mjs";

const [address, live, folder] = process.argv.slice(2);
const browser = await start();
const seen = { problems: [] };
const HALVES = [["2023-08-10", "2023-08-14"], ["2023-08-15", "2023-08-20"]];
const [FIRST, LAST] = HALVES.map((days) => days.join("/"));
const wide = { viewport: { width: 1366, height: 768 } };
const days = (page) => page.$$eval("#days button", (all) => all.map((b) => b.dataset.day));
const asks = (page, path, name, value) => page.waitForRequest((r) => r.url().includes(path) && new URL(r.url()).searchParams.get(name) === value, LONG);
try {
  const look = watched(await browser.newPage(wide), seen.problems, true);
  const tiles = [];
  look.on("request", (r) => r.url().includes("/tiles/") && tiles.push(new URL(r.url()).searchParams.get("version")));
  await opened(look, live);
  await look.evaluate(() => {
    // Whether any layer has a picture in the middle, in each frame.
    window.blank = window.frames_ = 0;
    const middle = (canvas) => canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data[3];
    const watch = () => {
      window.frames_++;
      if (![...document.querySelectorAll("#map canvas")].some((c) => c.width > 0 && middle(c) > 0)) window.blank++;
      requestAnimationFrame(watch);
    };
    requestAnimationFrame(watch);
  });
  const [before] = tiles;
  console.log(JSON.stringify({ before }));
  await until(() => tiles.at(-1) !== before);
  await quiet(look);
  seen.after = [...new Set(tiles)].filter((v) => v !== before);
  seen.blank = await look.evaluate(() => window.blank);
  seen.frames = await look.evaluate(() => window.frames_);
  await look.screenshot({ path: `${folder}/follow.png` });
  await look.close();

  // The sample has one period; halves of it are periods as good.
  const page = watched(await browser.newPage(wide), seen.problems, true);
  await page.route("**/mosaics", async (route) => {
    const answer = await route.fetch();
    const body = await answer.json();
    const one = body.collections[0];
    one["terrazzo:periods"] = HALVES.map(([begin, end]) => ({ name: `${begin}/${end}`, start: begin, end, members: [] }));
    await route.fulfill({ response: answer, json: { ...body, collections: [one, { ...one, title: "Another" }] } });
  });
  await opened(page, address);
  await page.click("input[name=compare]");

  // A day that is picked and let go leads back to the period before.
  await page.selectOption("select[name=datetime]", FIRST);
  await page.waitForSelector("[data-day='2023-08-13']", LONG);
  await page.click("[data-day='2023-08-13']");
  await hashHas(page, "datetime=2023-08-13");
  await page.click("[data-day='2023-08-13']");
  await page.waitForFunction(() => !location.hash.includes("2023-08-13"), null, LONG);
  seen.unpicked = new URLSearchParams(new URL(page.url()).hash.slice(1)).get("datetime");

  // The days of an export are those of the picture.
  await press(page, "button[name=export]");
  await page.waitForFunction(() => document.getElementById("shown").textContent, null, LONG);
  const picked = asks(page, "/dates/", "datetime", "2023-08-13");
  await page.click("[data-day='2023-08-13']");
  await picked;
  await page.waitForFunction(() => document.getElementById("shown").textContent.startsWith("Days shown: 2023-08-13"), null, LONG);
  await press(page, "#order [name=close]");

  // The answer to an older question comes last.
  let release;
  const held = new Promise((go) => { release = go; });
  const late = (url) => url.pathname.endsWith("/days") && url.searchParams.get("datetime") === FIRST;
  await page.selectOption("select[name=datetime]", LAST);
  await page.waitForSelector("[data-day='2023-08-18']", LONG);
  await page.route(late, async (route) => {
    await held;
    await route.continue();
  });
  await page.selectOption("select[name=datetime]", FIRST);
  await page.selectOption("select[name=datetime]", LAST);
  const came = page.waitForResponse((r) => late(new URL(r.url())), LONG);
  release();
  await (await came).finished();
  await page.evaluate(() => new Promise((go) => setTimeout(go, 200)));
  seen.late = await days(page);
  await page.unroute(late);

  // What cards say follows the picture; a layer has fixed colours, and an area in numbers all the same.
  await press(page, "button[name=colours]");
  await page.waitForSelector("#colours svg", LONG);
  await page.selectOption("select[name=style]", "score");
  await page.waitForFunction(() => document.getElementById("colours").textContent.includes("fixed meanings"), null, LONG);
  await page.focus("select[name=style]");
  await page.selectOption("select[name=style]", "ndvi");
  await page.waitForSelector("#colours svg", LONG);
  seen.ends = await page.$$eval("#colours input", (all) => all.map((i) => Number(i.value)));
  seen.focus = await page.evaluate(() => document.activeElement.name);
  await page.selectOption("select[name=style]", "score");
  await press(page, "button[name=area]");
  const measured = asks(page, "/statistics", "style", "natural");
  await press(page, "#area [name=whole]");
  await measured;
  await page.waitForFunction(() => document.querySelectorAll("#area tbody tr").length === 6, null, LONG);
  const again = asks(page, "/statistics", "style", "ndvi");
  await page.selectOption("select[name=style]", "ndvi");
  await again;
  await page.waitForFunction(() => document.querySelectorAll("#area tbody tr").length === 2, null, LONG);
  await page.mouse.click(900, 400);
  await page.waitForSelector("#told svg", LONG);
  const explained = asks(page, "/explain/", "datetime", FIRST);
  await page.selectOption("select[name=datetime]", FIRST);
  await explained;
  await page.waitForFunction(() => document.querySelector("#told .hint").textContent.includes("10–14 August"), null, LONG);
  await page.waitForSelector("#told svg", LONG);
  await quiet(page);
  await page.screenshot({ path: `${folder}/cards.png` });
  await page.focus("select[name=mosaic]");
  await page.selectOption("select[name=mosaic]", { label: "Another" });
  await page.waitForSelector("#told", { state: "hidden", ...LONG });
  seen.focused = await page.evaluate(() => document.activeElement.name);
  await quiet(page);
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
