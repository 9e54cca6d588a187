// Addresses to take along: this view, the mosaic for GIS programs and web maps, QGIS with all periods.
import { access, keyed } from "./ask.js";
import { filled, openCard } from "./cards.js";
import { measured, query } from "./state.js";
import { element } from "./words.js";

const card = document.getElementById("share");

async function copied(field, button, label) {
  try {
    await navigator.clipboard.writeText(field.value);
  } catch {
    // Pages without TLS may not write to the clipboard themselves.
    field.select();
    document.execCommand("copy");
  }
  const says = (text) => Object.assign(button, { textContent: text, ariaLabel: `${text}: ${label}` });
  says("Copied");
  setTimeout(says, 2000, "Copy");
}

// A text to copy, under its name.
export function line(label, value) {
  const field = element("input", "", { readOnly: true, value });
  const button = element("button", "Copy", { type: "button", ariaLabel: `Copy: ${label}` });
  button.addEventListener("click", () => copied(field, button, label));
  return element("div", [element("label", [label, field]), button], { className: "copy" });
}

// `view` gives {mosaic, state}, what the picture shows; `quiet`: the focus stays where it is.
export function shareView(view, quiet = false) {
  const { mosaic, state } = view();
  const absolute = (path) => decodeURI(new URL(path, location.href.split("#")[0]).href);
  const search = query(state, mosaic);
  const tiles = new URLSearchParams(search);
  const others = new URLSearchParams(search);
  others.delete("datetime");
  // A WMTS has its styles, and the periods as times.
  const { datetime, ...beside } = measured(state);
  const layers = new URLSearchParams(beside);
  const at = `mosaics/${mosaic.id}`;
  openCard(card, () => {}, () => shareView(view, true));
  const qgis = element("a", "Open in QGIS", { href: keyed(`${at}/layers.qlr?${others}`), download: `${mosaic.id}.qlr`, className: "button" });
  filled(card, "Share and open elsewhere",
    line("This view", location.href),
    element("p", [qgis, " a file for QGIS: drag it into its window. A layer for each period."]),
    line("WMTS, for QGIS and ArcGIS", absolute(`${at}/wmts/1.0.0/WMTSCapabilities.xml?${layers}`)),
    line("XYZ, for web maps", absolute(`${at}/tiles/WebMercatorQuad/{z}/{x}/{y}.png?${tiles}`)),
    line("TileJSON", absolute(`${at}/WebMercatorQuad/tilejson.json?${search}`)),
    element("p", access.key ? "Add your key: ?api_key=…" : "XYZ and TileJSON show what the map shows now; WMTS lists the standard layers. They follow the mosaic's newest version.", { className: "hint" }),
    element("p", element("a", "All addresses and parameters", { href: "docs", target: "_blank", rel: "noopener" })));
  if (!quiet) card.querySelector("input").focus();
}
