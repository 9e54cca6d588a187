// The days of what is shown as bars: the higher, the clearer; a bar shows its day.
import { element, when } from "./words.js";

const list = document.getElementById("days");
const MOST = 400;
// A day that covers this much of what all days cover can stand for the mosaic as acquired.
const WHOLE = 0.9;

// The day that shows best what clouds do: the least clear of those over nearly the whole mosaic.
export function cloudiest({ days, tiles }) {
  const whole = days.filter((d) => d.tiles >= WHOLE * tiles && d.clear_share < 0.98);
  return whole.toSorted((a, b) => a.clear_share - b.clear_share)[0]?.date;
}

export function drawTimeline({ days }, pick) {
  list.replaceChildren(...days.slice(-MOST).map((d) => {
    const clear = Math.round(100 * d.clear_share);
    const words = `${when(d.date)}: ${clear} % clear, ${d.scenes} ${d.scenes === 1 ? "scene" : "scenes"}`;
    const bar = element("i", element("b"));
    bar.firstChild.style.height = `${Math.max(4, clear)}%`;
    const button = element("button", [bar, element("span", String(Number(d.date.slice(8))))], { type: "button", title: words, ariaLabel: words, ariaPressed: "false" });
    button.dataset.day = d.date;
    button.addEventListener("click", () => pick(d.date));
    return button;
  }));
}

export function markDay(datetimes) {
  for (const button of list.children) button.ariaPressed = String(datetimes.includes(button.dataset.day));
}
