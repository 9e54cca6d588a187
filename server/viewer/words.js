// What people read: titles, days, names of stages; and the elements that carry them.

export const STAGES = {
  raw: "As acquired",
  mask: "Cloud mask",
  corrected: "One scene, corrected",
  merged: "Cloud-free, with seams",
  normalized: "Seamless",
};
const BEGINS = { raw: "Sentinel-2, as acquired", mask: "Sentinel-2, cloud mask", corrected: "Sentinel-2, one scene a place" };
const ISO = /^\d{4}-\d\d-\d\d$/;
const format = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
const short = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
const days = (text) => text.split("/").map((part) => new Date(`${part}T00:00:00Z`));

export const merges = (stage) => ["merged", "normalized"].includes(stage);
export const shortDay = (iso) => short.format(new Date(`${iso}T00:00:00Z`));

// A day, an interval or a period's name as people write it: 10–20 August 2023.
export function when(datetime, periods = []) {
  const period = periods.find((p) => p.name === datetime);
  const text = period ? `${period.start}/${period.end}` : datetime;
  if (!text.split("/").every((part) => ISO.test(part))) return text;
  const [from, to = from] = days(text);
  return format.formatRange(from, to).replace(/(\d)\s*–\s*(\d)/, "$1–$2");
}

export function title(state, periods) {
  return `${BEGINS[state.stage] ?? "Sentinel-2, cloud-free"}, ${when(state.datetime, periods)}`;
}

export function element(name, content = "", attributes = {}) {
  const created = document.createElement(name);
  created.append(...[content].flat());
  for (const [key, value] of Object.entries(attributes)) {
    if (key in created && key !== "form" && key !== "list") created[key] = value;
    else created.setAttribute(key, value);
  }
  return created;
}

export function table(head, rows, caption) {
  const row = (cells, kind) => element("tr", cells.map((cell, i) => element(i ? kind : "th", String(cell ?? "–"), i ? {} : { scope: "row" })));
  const top = element("thead", element("tr", head.map((text) => (text ? element("th", text, { scope: "col" }) : element("td")))));
  const body = element("tbody", rows.map((cells) => row(cells, "td")));
  return element("div", element("table", [...(caption ? [element("caption", caption)] : []), top, body]), { className: "wide", tabIndex: 0, role: "group", ariaLabel: caption ?? "Table" });
}

// A file that the page itself writes.
export function saved(name, text, media) {
  const link = element("a", "", { href: URL.createObjectURL(new Blob([text], { type: media })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const cell = (value) => (/[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value ?? ""));
export const csv = (rows) => rows.map((row) => row.map((value) => cell(value ?? "")).join(",")).join("\n") + "\n";
