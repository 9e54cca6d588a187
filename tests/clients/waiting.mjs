// Opens the map of a server that has no mosaic yet, with a key where it asks for one; prints what it says, and what it offers once there is one.
// usage: node waiting.mjs ADDRESS KEY LABELS, with NODE_MODULES; KEY and LABELS (host of another origin) may be empty
import { LONG, press, quiet, start, until } from "./page.mjs";

const [address, key, labels] = process.argv.slice(2);
const browser = await start();
try {
  const page = await browser.newPage();
  const names = [];
  page.on("response", (r) => labels && r.url().startsWith(labels) && names.push(r.status()));
  await page.goto(address, LONG);
  if (key) {
    await page.waitForSelector("#trouble:not([hidden])", LONG);
    console.log(JSON.stringify({ said: await page.textContent("#trouble p") }));
    await page.fill("#trouble input", key);
    await page.keyboard.press("Enter");
  }
  await page.waitForFunction(() => document.querySelector("#empty").textContent.includes("no mosaic"), null, LONG);
  console.log(JSON.stringify({ said: await page.textContent("#empty") }));
  await page.waitForSelector("#controls:not([aria-busy])", LONG);
  await quiet(page);
  if (labels) await until(() => names.length > 0);
  // Where a key is needed, a link to the export would not help without it.
  await press(page, "button[name=share]");
  console.log(JSON.stringify({
    trouble: await page.isVisible("#trouble"),
    mosaics: await page.$$eval("select[name=mosaic] option", (options) => options.map((o) => o.value)),
    exports: await page.isVisible("button[name=export]"),
    labels: [...new Set(names)],
    attribution: await page.textContent(".ol-attribution"),
    keyed: (await page.$eval("#share a", (a) => a.href)).includes("api_key="),
  }));
} finally {
  await browser.close();
}
