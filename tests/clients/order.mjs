// Exports a box from the map page in Chromium, drawn and written; shows the steps; asks axe-core. Prints what it saw as JSON.
// usage: node order.mjs ADDRESS FOLDER, with NODE_MODULES
import { writeFileSync } from "node:fs";
import { dragged, judged, LONG, opened, press, quiet, start, until, watched } from "./page.mjs";

const [address, folder] = process.argv.slice(2);
const browser = await start();
const seen = { problems: [], findings: {} };
const estimated = (page) => page.waitForFunction(() => document.querySelector("#order output").textContent.includes("px"), null, LONG);
const still = (page) => page.waitForFunction(() => document.querySelector("[name=draw]").getAttribute("aria-pressed") === "false");
async function box(page) {
  return Promise.all(["west", "south", "east", "north"].map(async (n) => Number(await page.inputValue(`input[name=${n}]`))));
}
async function fetched(page, name) {
  const links = await page.$$eval("#files a", (all) => all.map((a) => [a.textContent, a.href]));
  const [, href] = links.find(([file]) => file.endsWith(".tif") && !/_(date|quality)/.test(file));
  writeFileSync(`${folder}/${name}`, await (await page.request.get(href)).body());
  return links.map(([file]) => file);
}
// Longitude and latitude of a point of the page, as the page's address says where it looks.
async function place(page, x, y) {
  const [lon, lat, zoom] = new URLSearchParams(new URL(page.url()).hash.slice(1)).get("at").split(",").map(Number);
  const { width, height } = page.viewportSize();
  const degrees = 360 / (256 * 2 ** (zoom + 1));
  return [lon + (x - width / 2) * degrees, lat - (y - height / 2) * degrees * Math.cos((lat * Math.PI) / 180)];
}
try {
  const page = watched(await browser.newPage({ viewport: { width: 1366, height: 768 } }), seen.problems, true);
  await opened(page, address);
  await judged(page, "start", seen);

  // Drawn with the pointer.
  await press(page, "button[name=export]");
  await estimated(page);
  await press(page, "#order [name=draw]");
  await dragged(page, [[640, 300], [700, 330], [740, 380]]);
  await still(page);
  await estimated(page);
  seen.asked = await page.isHidden("#told");
  seen.drawn = await box(page);
  seen.expected = [...await place(page, 640, 380), ...await place(page, 740, 300)];
  seen.cost = await page.textContent("#order output");
  await page.waitForFunction(() => document.getElementById("shown").textContent, null, LONG);
  seen.days = await page.textContent("#shown");
  await quiet(page);
  const jobs = [];
  page.on("response", async (r) => /exports\/[^/]+$/.test(r.url()) && jobs.push((await r.json()).status));
  await press(page, "#order [name=send]");
  await page.waitForSelector("#files a", LONG);
  seen.files = await fetched(page, "drawn.tif");
  seen.ended = jobs.at(-1);
  await page.screenshot({ path: `${folder}/map-export.jpg`, type: "jpeg", quality: 82 });
  await judged(page, "export", seen);
  await press(page, "#order [name=close]");
  seen.closed = await page.isHidden("#order");

  // A formula is exported as a formula.
  await page.selectOption("select[name=style]", "expression");
  const [order] = await Promise.all([page.waitForRequest((r) => r.url().endsWith("/exports"), LONG), press(page, "button[name=export]")]);
  seen.formula = order.postDataJSON().expression;
  await estimated(page);
  seen.bands = await page.textContent("#order output");

  // A style with a legend, and every card.
  await page.selectOption("select[name=style]", "date");
  await page.waitForSelector("#legend img", LONG);
  seen.legend = await page.$eval("#legend img", (image) => [image.alt, image.naturalWidth, image.nextSibling.textContent]);
  await page.click("#more summary");
  await press(page, "button[name=explain]");
  await page.waitForSelector("#told svg", LONG);
  await judged(page, "pixel", seen);
  for (const card of ["area", "share"]) {
    await press(page, `button[name=${card}]`);
    await judged(page, card, seen);
  }
  await page.selectOption("select[name=style]", "natural");
  await press(page, "button[name=colours]");
  await page.waitForSelector("#colours svg", LONG);
  await judged(page, "colours", seen);
  await page.keyboard.press("Escape");
  await quiet(page);

  // The steps, one after the other.
  await page.selectOption("select[name=style]", "natural");
  await quiet(page);
  const stages = [];
  page.on("request", (r) => {
    const stage = r.url().includes("tilejson") && new URL(r.url()).searchParams.get("stage");
    if (stage && stage !== stages.at(-1)) stages.push(stage);
  });
  await press(page, "button[name=steps]");
  await until(() => stages.length >= 5);
  await press(page, "button[name=steps]");
  seen.steps = stages.slice(0, 5);
  seen.stopped = await page.getAttribute("button[name=steps]", "aria-pressed");

  // Written on a phone, with keys only.
  const phone = watched(await browser.newPage({ viewport: { width: 375, height: 800 }, hasTouch: true }), seen.problems, true);
  await opened(phone, address);
  await judged(phone, "phone", seen);
  await press(phone, "button[name=fold]");
  await judged(phone, "phone, options", seen);
  await press(phone, "button[name=export]");
  await phone.waitForFunction(() => document.activeElement.name === "draw");
  const reached = [];
  for (let i = 0; i < 8; i++) {
    reached.push(await phone.evaluate(() => document.activeElement.name));
    await phone.keyboard.press("Tab");
  }
  seen.reached = reached;
  await phone.focus("input[name=west]");
  for (const value of ["15.95", "15.98", "45.80", "45.82"]) {
    await phone.keyboard.press("Control+A");
    await phone.keyboard.type(value);
    await phone.keyboard.press("Tab");
  }
  seen.written = await box(phone);
  await phone.keyboard.press("Control+A");
  await phone.keyboard.type("B04,B08");
  await phone.keyboard.press("Enter");
  await phone.waitForSelector("#files a", LONG);
  await fetched(phone, "written.tif");
  await quiet(phone);
  await judged(phone, "phone, export", seen);

  // Drawn with a finger: the panels make room meanwhile.
  await press(phone, "#order [name=draw]");
  seen.room = await phone.isHidden("#order [name=west]");
  const finger = await phone.context().newCDPSession(phone);
  const touch = (type, points) => finger.send("Input.dispatchTouchEvent", { type, touchPoints: points });
  await touch("touchStart", [{ x: 120, y: 380 }]);
  for (const [x, y] of [[150, 400], [180, 430], [200, 440]]) await touch("touchMove", [{ x, y }]);
  await touch("touchEnd", []);
  await still(phone);
  await estimated(phone);
  const touched = await box(phone);
  seen.touched = touched.every((v, i) => v !== seen.written[i]) && touched[2] > touched[0] && touched[3] > touched[1];
  const panel = await phone.locator("#order").boundingBox();
  seen.fits = panel.x >= 0 && panel.x + panel.width <= 375;
  seen.wide = await phone.evaluate(() => document.documentElement.scrollWidth);
  await phone.screenshot({ path: `${folder}/map-phone.jpg`, type: "jpeg", quality: 82 });

  const locked = await browser.newPage();
  await locked.route("**/exports", (route) =>
    route.fulfill({ status: 401, contentType: "application/json", body: '{"detail": "a key is needed"}' }));
  await opened(locked, address);
  await press(locked, "button[name=export]");
  await locked.waitForSelector("#order .key:not([hidden])", LONG);
  seen.locked = await locked.textContent("#order output");
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
