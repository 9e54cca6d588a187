// Opens the map of a server that has no mosaic yet; prints what it says, and what it offers once there is one.
// usage: node waiting.mjs ADDRESS, with NODE_MODULES
import { createRequire } from "node:module";
import { join } from "node:path";

const { chromium } = createRequire(join(process.env.NODE_MODULES, "x.js"))("playwright-core");
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"],
});
const LONG = { timeout: 900000 };
try {
  const page = await browser.newPage();
  await page.goto(process.argv[2], LONG);
  await page.waitForSelector("#trouble:not([hidden])", LONG);
  console.log(JSON.stringify({ said: await page.textContent("#trouble") }));
  await page.waitForSelector("#controls:not([aria-busy])", LONG);
  console.log(JSON.stringify({
    said: await page.textContent("#trouble"),
    mosaics: await page.$$eval("select[name=mosaic] option", (found) => found.map((o) => o.value)),
    exports: await page.isVisible("button[name=export]"),
  }));
} finally {
  await browser.close();
}
