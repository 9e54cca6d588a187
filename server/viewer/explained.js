// The answer of /explain in short, as elements: the value, the chosen scene, and why not the others.

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

export function explained(found, page, title) {
  const rows = found.band_names.map((band, i) =>
    element("tr", "", element("th", band), element("td", String(found.values[i] ?? "–")),
      ...(found.change ? [element("td", `change ${found.change[i] ?? "–"}`)] : [])));
  const others = found.candidates.filter((c) => !c.chosen);
  const link = element("a", "The whole account");
  link.href = page;
  link.target = "_blank";
  link.rel = "noopener";
  return [
    element("h2", `${found.datetime.slice(0, 10)}${title ? ` (${title})` : ""}`),
    element("p", `${found.scene}: ${found.candidates.find((c) => c.chosen).verdict}`),
    element("table", "", element("tbody", "", ...rows)),
    ...(found.baseline ? [element("p", `Compared with ${found.baseline.datetime.slice(0, 10)}, ${found.baseline.scene}`)] : []),
    element("p", `${found.scenes_usable} usable scenes; ${found.quality_names.join(", ") || "clear"}`),
    element("h3", others.length ? "The other scenes" : "There is no other scene."),
    element("ul", "", ...others.map((c) => element("li", `${c.datetime.slice(0, 10)}: ${c.verdict}`))),
    element("p", "", link),
  ];
}
