// Four fields of a form that hold a box in degrees: drawn on the map, taken from its view, or written.
const SIDES = ["west", "south", "east", "north"];

// `changed` runs when a box was drawn.
export function boxFields(form, map, changed) {
  const field = form.elements;
  const bounds = () => SIDES.map((side) => Number(field[side].value));

  // West east of east is a box across the antimeridian, if the two lie that far apart.
  function isBox() {
    const [west, south, east, north] = bounds();
    return SIDES.every((side) => field[side].value) && north > south && (east > west || west - east > 180);
  }

  function outline() {
    const [west, south, east, north] = bounds();
    map.outlined();
    if (!form.hidden && east > west && north > south) map.box(bounds());
  }

  function write(box) {
    box.forEach((value, i) => { field[SIDES[i]].value = String(Math.round(value * 1e5) / 1e5); });
    outline();
  }

  // The middle of what the map shows.
  function writeMiddle() {
    const [west, south, east, north] = map.seen();
    const [w, h] = [(east - west) / 4, (north - south) / 4];
    write([west + w, south + h, east - w, north - h]);
  }

  function drawing(on) {
    field.draw.setAttribute("aria-pressed", String(on));
    document.body.classList.toggle("drawing", on);
    if (!on) map.stopDrawing();
  }

  field.draw.addEventListener("click", () => {
    if (field.draw.getAttribute("aria-pressed") === "true") return drawing(false);
    drawing(true);
    map.draw("box", ({ coordinates: [ring] }) => {
      drawing(false);
      const [lons, lats] = [0, 1].map((axis) => ring.map((place) => place[axis]));
      write([Math.min(...lons), Math.min(...lats), Math.max(...lons), Math.max(...lats)]);
      changed();
    });
  });
  return { bounds, isBox, outline, writeMiddle, stop: () => drawing(false) };
}
