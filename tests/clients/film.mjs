// Opens the map of `terrazzo live` and takes a picture of each version that it shows, until the mosaic is published.
// Prints a line of JSON for each picture: its file and the version's state.
// usage: node film.mjs ADDRESS FOLDER, with NODE_MODULES
import { LONG, quiet, start } from "./page.mjs";

const [address, folder] = process.argv.slice(2);
const browser = await start();
let number = 0;
async function taken(page, state) {
  const file = `${folder}/${number++}.png`;
  await page.screenshot({ path: file });
  console.log(JSON.stringify({ file, state }));
}
try {
  const page = await browser.newPage({ viewport: { width: 960, height: 600 } });
  const shown = new Map();
  page.on("response", async (r) => {
    if (!r.url().includes("/tiles/") || !r.ok()) return;
    shown.set(new URL(r.url()).searchParams.get("version"), r.headers()["x-terrazzo-state"]);
  });
  await page.goto(address, LONG);
  await page.waitForTimeout(1000);
  await taken(page, "none");
  await page.waitForSelector("#controls:not([aria-busy])", LONG);
  // One picture says more of what replaces it than two sides.
  await page.click("input[name=compare]");
  await page.click("button[name=fold]");
  await page.focus("#map");
  for (let i = 0; i < 2; i++) {
    await page.keyboard.press("+");
    await page.waitForTimeout(500);
  }
  for (let seen = 0, state; state !== "published";) {
    while (shown.size === seen) await page.waitForTimeout(100);
    seen = shown.size;
    await quiet(page);
    await page.waitForTimeout(1500);
    state = [...shown.values()].at(-1);
    await taken(page, state);
  }
} finally {
  await browser.close();
}
