// Draws a box on the map of a server that has no mosaic yet, on a desk and on a phone, and waits for the first mosaic.
// Prints what it saw as JSON: of the empty map, then, once there is a mosaic, of all.
// usage: node begin.mjs ADDRESS FOLDER, with NODE_MODULES
import { dragged, judged, LONG, quiet, start, watched } from "./page.mjs";

const [address, folder] = process.argv.slice(2);
const browser = await start();
const seen = { problems: [], asked: [], findings: {} };
const commands = (page) => page.$$eval("#commands input", (all) => all.map((i) => i.value));
const picture = (page, name) => page.screenshot({ path: `${folder}/${name}.jpg`, type: "jpeg", quality: 82 });
async function began(options, place) {
  const page = watched(await browser.newPage(options), seen.problems);
  page.on("request", (r) => seen.asked.push(r.method()));
  await page.goto(address, LONG);
  await page.waitForSelector("#begin:not([hidden])", LONG);
  await page.waitForFunction(() => document.getElementById("empty").textContent, null, LONG);
  await quiet(page);
  seen.before ??= [await page.textContent("#begin output"), await commands(page)];
  // What is written moves the map there.
  for (const [name, value] of Object.entries({ west: 24.6, east: 25.4, south: 60, north: 60.4 })) {
    await page.fill(`#begin [name=${name}]`, String(value));
    await page.press(`#begin [name=${name}]`, "Tab");
  }
  await page.waitForTimeout(500);
  await page.click("#begin [name=draw]");
  await dragged(page, place);
  // The commands of the written box stand there until the drawn one takes its place.
  await page.waitForFunction(() => !document.body.classList.contains("drawing"), null, LONG);
  await page.waitForSelector("#commands input", LONG);
  return page;
}
try {
  const page = await began({ viewport: { width: 1366, height: 768 } }, [[500, 300], [560, 340]]);
  seen.said = await page.textContent("#empty");
  seen.drawn = await page.$$eval("#begin [type=number]", (all) => all.map((i) => Number(i.value)));
  await page.fill("#begin [name=first]", "2025-07-01");
  await page.fill("#begin [name=last]", "2025-07-31");
  seen.size = await page.textContent("#begin output");
  seen.commands = await commands(page);
  await page.click("#commands button");
  await page.waitForFunction(() => document.querySelector("#commands button").textContent === "Copied", null, LONG);
  await page.waitForTimeout(500);
  await picture(page, "map-begin");
  await judged(page, "desk", seen);
  await page.click("#begin [name=middle]");
  seen.middle = await page.$$eval("#begin [type=number]", (all) => all.map((i) => Number(i.value)));
  await page.fill("#begin [name=last]", "2025-06-30");
  seen.wrong = [await page.textContent("#begin output"), await commands(page)];

  const phone = await began({ viewport: { width: 390, height: 844 }, hasTouch: true, deviceScaleFactor: 2 }, [[100, 250], [180, 330]]);
  seen.free = await phone.evaluate(() => [...Array(innerHeight).keys()].filter((y) => document.elementFromPoint(innerWidth / 3, y)?.closest("#map")).length / innerHeight);
  seen.wide = await phone.evaluate(() => document.documentElement.scrollWidth);
  await picture(phone, "map-begin-phone");
  await judged(phone, "phone", seen);
  console.log(JSON.stringify(seen));
  await page.waitForSelector("#controls:not([aria-busy])", LONG);
  await quiet(page);
  seen.after = [await page.isVisible("#begin"), await page.isVisible("#controls"), await page.textContent("h1")];
  await picture(page, "map-begun");
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
