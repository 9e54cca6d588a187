// What goes wrong, in words with a way to try again; and the sign that the picture is not there yet.
import { access } from "./ask.js";

const trouble = document.getElementById("trouble");
const busySign = document.getElementById("busy");
const keyForm = trouble.querySelector("form");
let again = () => {};
let asking = 0;
let drawing = true;

// Says an error, or that there is none any more; `retry` runs when somebody tries again, with a key where one is needed.
export function complain(error, retry = () => {}) {
  trouble.querySelector("p").textContent = error?.message ?? "";
  keyForm.hidden = error?.status !== 401;
  trouble.hidden = !error;
  again = retry;
}

function retried() {
  if (!keyForm.hidden) access.key = keyForm.elements.key.value;
  const retry = again;
  complain();
  retry();
}

const show = () => { busySign.hidden = asking === 0 && !drawing; };

// Whether the map still loads tiles.
export function loading(is) {
  drawing = is;
  show();
}

export async function whileBusy(work) {
  asking++;
  show();
  try {
    return await work();
  } finally {
    asking--;
    show();
  }
}

trouble.querySelector("[name=again]").addEventListener("click", retried);
keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  retried();
});
