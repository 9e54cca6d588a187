// Fetches a file in Chromium whole, in three parts, and a part of a file that has changed; prints what came as JSON.
// usage: node download.mjs ADDRESS PATH, with NODE_MODULES
import { createRequire } from "node:module";
import { join } from "node:path";

const { chromium } = createRequire(join(process.env.NODE_MODULES, "x.js"))("playwright-core");
const [address, path] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  const page = await browser.newPage();
  await page.goto(address);
  const seen = await page.evaluate(async (url) => {
    const sum = async (bytes) => [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))].join();
    const whole = await fetch(url, { cache: "no-store" });
    const etag = whole.headers.get("ETag");
    const size = (await whole.clone().arrayBuffer()).byteLength;
    const [a, b] = [Math.floor(size / 3), Math.floor(size / 2)];
    const parts = [];
    for (const wanted of [`bytes=0-${a - 1}`, `bytes=${a}-${b - 1}`, `bytes=${b}-`]) {
      parts.push(await fetch(url, { cache: "no-store", headers: { Range: wanted, "If-Range": etag } }));
    }
    const other = await fetch(url, { cache: "no-store", headers: { Range: "bytes=0-9", "If-Range": '"another"' } });
    return {
      packed: whole.headers.get("Content-Encoding"),
      whole: await sum(await whole.arrayBuffer()),
      parts: parts.map((part) => part.status),
      joined: await sum(await new Blob(await Promise.all(parts.map((part) => part.blob()))).arrayBuffer()),
      other: other.status,
    };
  }, address + path);
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
