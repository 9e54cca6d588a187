// Exports a box from the map page in Chromium, drawn and written; shows the steps; asks axe-core. Prints what it saw as JSON.
// usage: node order.mjs ADDRESS FOLDER, with NODE_MODULES
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const require = createRequire(join(process.env.NODE_MODULES, "x.js"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const [address, folder] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"],
});
const LONG = { timeout: 900000 };
const seen = { problems: [], findings: {} };
const watched = (page) => {
  page.on("console", (m) => m.type() === "error" && seen.problems.push(m.text()));
  page.on("pageerror", (e) => seen.problems.push(String(e)));
  page.on("response", (r) => r.status() >= 400 && seen.problems.push(`${r.status()} ${r.url()}`));
  return page;
};
const quiet = (page) => page.waitForLoadState("networkidle", LONG);
const estimated = (page) => page.waitForFunction(() => document.querySelector("#order output").textContent.includes("px"), null, LONG);
const press = async (page, selector, key = "Enter") => {
  await page.focus(selector);
  await page.keyboard.press(key);
};
async function judged(page, name) {
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => window.axe.run(document));
  seen.passed = Math.min(seen.passed ?? Infinity, passes.length);
  seen.findings[name] = violations.map((v) => `${v.impact}: ${v.id}: ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`);
}
async function box(page) {
  return Promise.all(["west", "south", "east", "north"].map(async (n) => Number(await page.inputValue(`input[name=${n}]`))));
}
async function fetched(page, name) {
  const links = await page.$$eval("#files a", (all) => all.map((a) => [a.textContent, a.href]));
  const [, href] = links.find(([file]) => file.endsWith(".tif") && !/_(date|quality)/.test(file));
  writeFileSync(`${folder}/${name}`, await (await page.request.get(href)).body());
  return links.map(([file]) => file);
}
const opened = async (page, at) => {
  await page.goto(at, { waitUntil: "networkidle", ...LONG });
  await page.waitForSelector("#controls:not([aria-busy])", LONG);
};
try {
  const page = watched(await browser.newPage({ viewport: { width: 1100, height: 760 } }));
  await opened(page, address);
  await page.waitForSelector("#seams:not([hidden])", LONG);
  seen.score = await page.textContent("#seams");
  seen.legend = await page.$eval("#legend", (image) => [image.alt, image.naturalWidth]);
  await judged(page, "start");

  // Drawn with the pointer.
  await press(page, "button[name=export]");
  await estimated(page);
  await press(page, "button[name=draw]");
  await page.mouse.move(640, 300);
  await page.mouse.down();
  await page.mouse.move(700, 330, { steps: 4 });
  await page.mouse.move(740, 380, { steps: 4 });
  await page.mouse.up();
  await page.waitForFunction(() => document.querySelector("[name=draw]").getAttribute("aria-pressed") === "false");
  await estimated(page);
  seen.asked = await page.isHidden("#told");
  seen.drawn = await box(page);
  seen.cost = await page.textContent("#order output");
  await page.waitForFunction(() => document.getElementById("days").textContent, null, LONG);
  seen.days = await page.textContent("#days");
  await quiet(page);
  const outlined = await page.locator("#box").boundingBox();
  seen.outlined = Math.abs(outlined.x - 640) < 2 && Math.abs(outlined.width - 100) < 3 && Math.abs(outlined.height - 80) < 3;
  const jobs = [];
  page.on("response", async (r) => /exports\/[^/]+$/.test(r.url()) && jobs.push((await r.json()).status));
  await press(page, "button[name=send]");
  await page.waitForSelector("#files a", LONG);
  seen.files = await fetched(page, "drawn.tif");
  seen.ended = jobs.at(-1);
  await page.screenshot({ path: `${folder}/map-export.jpg`, type: "jpeg", quality: 82 });
  await press(page, "button[name=close]");
  seen.closed = await page.isHidden("#order") && await page.isHidden("#box");

  // A style with a legend, two states and an account, all judged at once.
  await page.selectOption("select[name=style]", "date");
  await page.focus("input[name=compare]");
  await page.keyboard.press("Space");
  await press(page, "button[name=explain]");
  await page.waitForSelector("#told h2", LONG);
  await press(page, "button[name=export]");
  await estimated(page);
  await quiet(page);
  await judged(page, "all open");
  await page.keyboard.press("Escape");
  await page.focus("input[name=compare]");
  await page.keyboard.press("Space");
  await press(page, "#told button");

  // The steps, one after the other.
  await page.selectOption("select[name=style]", "natural");
  await quiet(page);
  const stages = [];
  page.on("request", (r) => {
    const stage = r.url().includes("tilejson") && new URL(r.url()).searchParams.get("stage");
    if (stage && stage !== stages.at(-1)) stages.push(stage);
  });
  await press(page, "button[name=steps]");
  for (let i = 0; i < 900 && stages.length < 5; i++) await page.waitForTimeout(100);
  await press(page, "button[name=steps]");
  seen.steps = stages.slice(0, 5);
  seen.stopped = await page.getAttribute("button[name=steps]", "aria-pressed");

  // Written on a phone, with keys only.
  const phone = watched(await browser.newPage({ viewport: { width: 375, height: 800 }, hasTouch: true }));
  await opened(phone, address);
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
  await judged(phone, "phone");

  // Drawn with a finger: the panels make room meanwhile.
  await press(phone, "button[name=draw]");
  seen.room = await phone.isHidden("#controls");
  const finger = await phone.context().newCDPSession(phone);
  const touch = (type, points) => finger.send("Input.dispatchTouchEvent", { type, touchPoints: points });
  await touch("touchStart", [{ x: 120, y: 380 }]);
  for (const [x, y] of [[150, 400], [180, 430], [200, 440]]) await touch("touchMove", [{ x, y }]);
  await touch("touchEnd", []);
  await phone.waitForFunction(() => document.querySelector("[name=draw]").getAttribute("aria-pressed") === "false");
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
