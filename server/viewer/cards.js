// The cards at the right: one is open at a time; Escape and × close it, and the focus goes back where it was.
import { element } from "./words.js";

let open;
let before;
let ending;
let renewing;

export function closeCard() {
  if (!open) return;
  const [card, end] = [open, ending];
  const focused = card.contains(document.activeElement) || document.activeElement === document.body;
  open = ending = renewing = undefined;
  card.hidden = true;
  document.body.classList.remove("carded");
  end?.();
  if (focused && before?.isConnected && before.offsetParent) before.focus();
}

// `end` runs when the card closes, `renew` when the picture changes, so that the card describes the new one. A card that is open already keeps the place where the focus goes back to.
export function openCard(card, end, renew) {
  if (open !== card) {
    const from = document.activeElement;
    closeCard();
    before = from;
  }
  open = card;
  ending = end;
  renewing = renew;
  card.hidden = false;
  document.body.classList.add("carded");
}

export const renewCard = () => renewing?.();

// Closes a card of a picture that is gone.
export function closeStale() {
  if (renewing) closeCard();
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
