// Chromium, and what the scripts that drive the map page share.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const require = createRequire(join(process.env.NODE_MODULES, "x.js"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const LONG = { timeout: 900000 };
export const start = () => chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"],
});

export function watched(page, problems, failures = false) {
  page.on("console", (m) => m.type() === "error" && problems.push(m.text()));
  page.on("pageerror", (e) => problems.push(String(e)));
  if (failures) page.on("response", (r) => r.status() >= 400 && problems.push(`${r.status()} ${r.url()}`));
  return page;
}

export const until = async (holds) => {
  for (let i = 0; i < 9000 && !holds(); i++) await new Promise((go) => setTimeout(go, 100));
};
export const quiet = (page) => page.waitForFunction(() => document.getElementById("busy").hidden, null, LONG);
export const hashHas = (page, text) => page.waitForFunction((t) => decodeURIComponent(location.hash).includes(t), text, LONG);
export async function press(page, selector, key = "Enter") {
  await page.focus(selector);
  await page.keyboard.press(key);
}
export async function opened(page, at) {
  await page.goto(at, { waitUntil: "commit", ...LONG });
  await page.waitForSelector("#controls:not([aria-busy])", LONG);
  await quiet(page);
}
export async function dragged(page, places) {
  await page.mouse.move(...places[0]);
  await page.mouse.down();
  for (const place of places.slice(1)) await page.mouse.move(...place, { steps: 3 });
  await page.mouse.up();
}
// What axe-core objects to, in light and in dark colours.
export async function judged(page, name, seen) {
  for (const colorScheme of ["dark", "light"]) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(axe);
    const { violations, passes } = await page.evaluate(() => window.axe.run(document));
    seen.passed = Math.min(seen.passed ?? Infinity, passes.length);
    seen.findings[`${name}, ${colorScheme}`] = violations.map((v) => `${v.impact}: ${v.id}: ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`);
  }
}
