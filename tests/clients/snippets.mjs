// Opens pages in Chromium, with the map libraries beside them. Prints what each loaded as JSON.
// usage: node snippets.mjs PAGES.json FOLDER, with NODE_MODULES; PAGES: {name: html}
import { createServer } from "node:http";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { extname, join, normalize } from "node:path";

const modules = process.env.NODE_MODULES;
const { chromium } = createRequire(join(modules, "x.js"))("playwright-core");
const [list, folder] = process.argv.slice(2);
const pages = JSON.parse(readFileSync(list, "utf8"));
const roots = {
  ol: [join(modules, "ol/dist"), join(modules, "ol")],
  "maplibre-gl": [join(modules, "maplibre-gl/dist")],
  leaflet: ["/usr/share/javascript/leaflet"],
};
const types = { ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".png": "image/png" };
const server = createServer((request, answer) => {
  const path = normalize(decodeURIComponent(request.url.split("?")[0])).slice(1);
  if (path in pages) return answer.writeHead(200, { "content-type": "text/html" }).end(pages[path]);
  if (path === "favicon.ico") return answer.writeHead(204).end();
  const [library, ...rest] = path.split("/");
  const file = (roots[library] || []).map((r) => join(r, ...rest)).find((f) => existsSync(f));
  if (!file) return answer.writeHead(404).end();
  answer.writeHead(200, { "content-type": types[extname(file)] || "text/plain" }).end(readFileSync(file));
});
await new Promise((go) => server.listen(0, "127.0.0.1", go));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"],
});
const seen = {};
try {
  for (const name of Object.keys(pages)) {
    const page = await browser.newPage({ viewport: { width: 640, height: 480 } });
    const one = (seen[name] = { tiles: 0, problems: [] });
    page.on("console", (m) => m.type() === "error" && one.problems.push(m.text()));
    page.on("pageerror", (e) => one.problems.push(String(e)));
    page.on("requestfailed", (r) => r.failure()?.errorText !== "net::ERR_ABORTED" && one.problems.push(r.url()));
    page.on("response", (r) => {
      if (r.status() >= 400) one.problems.push(`${r.status()} ${r.url()}`);
      else if (r.headers()["content-type"]?.startsWith("image/") && r.url().includes("/mosaics/")) one.tiles += 1;
    });
    await page.goto(`http://127.0.0.1:${server.address().port}/${encodeURIComponent(name)}`, { waitUntil: "load", timeout: 900000 });
    for (let i = 0; i < 9000 && one.tiles < 4 && !one.problems.length; i++) await new Promise((go) => setTimeout(go, 100));
    // A drag, a step in and a step out, as people look around.
    await page.mouse.move(320, 240);
    await page.mouse.down();
    await page.mouse.move(250, 200, { steps: 5 });
    await page.mouse.up();
    for (const turn of [-120, 120]) await page.mouse.wheel(0, turn);
    await page.waitForLoadState("networkidle", { timeout: 900000 });
    await page.waitForTimeout(1000);
    await page.screenshot({ path: join(folder, `${name.replace(/\W+/g, "-")}.png`) });
    await page.close();
  }
} finally {
  await browser.close();
  server.close();
}
console.log(JSON.stringify(seen));
