// The cards at the right: one is open at a time; Escape and × close it, and the focus goes back where it was.
import { element } from "./words.js";

let open;
let before;
let ending;

export function closeCard() {
  if (!open) return;
  const [card, end] = [open, ending];
  open = ending = undefined;
  card.hidden = true;
  document.body.classList.remove("carded");
  end?.();
  if (before?.isConnected && before.offsetParent) before.focus();
}

// `end` runs when the card closes. A card that is open already keeps the place where the focus goes back to.
export function openCard(card, end) {
  if (open !== card) {
    const from = document.activeElement;
    closeCard();
    before = from;
  }
  open = card;
  ending = end;
  card.hidden = false;
  document.body.classList.add("carded");
}

export function filled(card, title, ...content) {
  const close = element("button", "×", { type: "button", name: "close", ariaLabel: `Close: ${title}` });
  close.addEventListener("click", closeCard);
  card.replaceChildren(element("h2", title), ...content, close);
}

addEventListener("keydown", (event) => {
  if (event.key === "Escape" && open) {
    event.preventDefault();
    closeCard();
  }
});
