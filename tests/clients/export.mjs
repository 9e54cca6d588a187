// Exports the whole mosaic from the map page in Chromium, and prints what was asked and answered as JSON.
// usage: node export.mjs ADDRESS FOLDER, with NODE_MODULES
import { createRequire } from "node:module";
import { copyFileSync } from "node:fs";
import { join } from "node:path";

const { chromium } = createRequire(join(process.env.NODE_MODULES, "x.js"))("playwright-core");
const [address, folder] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"],
});
const LONG = { timeout: 900000 };
const seen = { refused: [], polls: 0 };
try {
  const page = await browser.newPage({ viewport: { width: 1100, height: 760 } });
  page.on("response", (r) => {
    if (r.status() >= 400) seen.refused.push(`${r.status()} ${r.url()}`);
    if (/exports\/[^/]+$/.test(r.url())) seen.polls++;
  });
  await page.goto(address, { waitUntil: "networkidle", ...LONG });
  await page.waitForSelector("#controls:not([aria-busy])", LONG);
  const { collections } = await (await page.request.get(`${address}mosaics`)).json();
  seen.box = collections[0].extent.spatial.bbox[0];
  await page.focus("button[name=export]");
  await page.keyboard.press("Enter");
  for (const [i, name] of ["west", "south", "east", "north"].entries()) await page.fill(`input[name=${name}]`, String(seen.box[i]));
  await page.waitForFunction(() => document.querySelector("#order output").textContent.includes("px"), null, LONG);
  await page.focus("button[name=send]");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#files a", LONG);
  seen.end = await page.textContent("#order output");
  const links = await page.$$eval("#files a", (all) => all.map((a) => a.textContent));
  const name = links.find((file) => file.endsWith(".tif") && !/_(date|quality)/.test(file));
  const download = page.waitForEvent("download", LONG);
  await page.click(`#files a[download="${name}"]`);
  copyFileSync(await (await download).path(), `${folder}/whole.tif`);
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
