// Drives the map page in Chromium: switches, link, phone width, visible errors. Prints what it saw as JSON.
// usage: node viewer.mjs ADDRESS FOLDER, with KIT_NODE_MODULES
import { createRequire } from "node:module";
import { join } from "node:path";

const { chromium } = createRequire(join(process.env.KIT_NODE_MODULES, "x.js"))("playwright-core");
const [address, folder] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"],
});
const seen = {};
const until = async (holds) => {
  for (let i = 0; i < 900 && !holds(); i++) await new Promise((go) => setTimeout(go, 100));
};
try {
  const page = await browser.newPage({ viewport: { width: 1024, height: 700 } });
  const tiles = [];
  const problems = [];
  page.on("request", (r) => r.url().includes("/tiles/") && tiles.push(r.url()));
  page.on("console", (m) => m.type() === "error" && problems.push(m.text()));
  page.on("pageerror", (e) => problems.push(String(e)));
  await page.goto(address, { waitUntil: "networkidle", timeout: 90000 });
  await until(() => tiles.length > 0);
  seen.first = tiles.length > 0 && tiles.every((t) => t.includes("stage=normalized"));
  tiles.length = 0;
  await page.focus("input[name=normalize]");
  await page.keyboard.press("Space");
  await until(() => tiles.length > 0);
  seen.off = tiles.length > 0 && tiles.every((t) => t.includes("stage=merged"));
  seen.stage = await page.inputValue("select[name=stage]");
  await page.selectOption("select[name=stage]", "mask");
  await page.waitForFunction(() => location.hash.includes("stage=mask"), null, { timeout: 90000 });
  await page.waitForLoadState("networkidle", { timeout: 90000 });
  await page.screenshot({ path: `${folder}/mask.png` });
  seen.link = page.url();
  await page.mouse.click(600, 400);
  await page.waitForFunction(() => /\d/.test(document.getElementById("point").textContent), null, { timeout: 90000 });
  seen.point = await page.textContent("#point");
  seen.attribution = await page.textContent(".maplibregl-ctrl-attrib");
  seen.problems = problems;

  const phone = await browser.newPage({ viewport: { width: 390, height: 800 }, hasTouch: true });
  await phone.goto(seen.link, { waitUntil: "networkidle", timeout: 90000 });
  seen.linked = await phone.inputValue("select[name=stage]");
  const box = await phone.locator("#controls").boundingBox();
  seen.fits = box.x >= 0 && box.x + box.width <= 390 && box.height < 400;
  seen.wide = await phone.evaluate(() => document.documentElement.scrollWidth);
  await phone.screenshot({ path: `${folder}/phone.png` });

  const broken = await browser.newPage();
  await broken.route("**/tilejson.json*", (route) =>
    route.fulfill({ status: 503, contentType: "application/json", body: '{"detail": "too many requests wait"}' }));
  await broken.goto(address, { waitUntil: "networkidle", timeout: 90000 });
  await broken.waitForFunction(() => document.getElementById("trouble").textContent, null, { timeout: 90000 });
  seen.told = await broken.textContent("#trouble");
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
