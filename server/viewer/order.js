// A box of the map as GeoTIFF: drawn or written, its cost and its days said beforehand, its progress while it is written.
import { access, ask, keyed, pause } from "./ask.js";
import { boxFields } from "./box.js";
import { closeCard, openCard } from "./cards.js";

const form = document.getElementById("order");
const field = form.elements;
const cost = form.querySelector("[name=cost]");
const days = document.getElementById("shown");
const bar = form.querySelector("progress");
const files = document.getElementById("files");

const list = (shares) => shares.map((d) => `${d.date} ${d.per_cent < 1 ? "< 1" : Math.round(d.per_cent)} %`).join(", ");

function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toPrecision(2)} MB`;
}

// `wanted` gives what is asked for beside the box: {mosaic, inputs, query, isFormula}.
export function orders(map, wanted) {
  let looks = 0;
  let latest = new AbortController();
  let job = "";
  const { bounds, isBox, outline, writeMiddle, stop } = boxFields(form, map, () => look());

  const exports = () => `mosaics/${wanted().mosaic}/exports`;
  const ordered = () => ({ ...wanted().inputs, bbox: bounds(), [wanted().isFormula ? "expression" : "bands"]: field.bands.value });

  function refuse(error) {
    if ([401, 403].includes(error.status)) form.querySelector(".key").hidden = false;
    cost.textContent = error.message;
  }

  async function look() {
    const mine = ++looks;
    // What is not wanted any more is not asked for again either.
    latest.abort();
    if (form.hidden) return;
    latest = new AbortController();
    const { signal } = latest;
    outline();
    if (job) return;
    if (!isBox()) {
      days.textContent = "";
      cost.textContent = "Write a box: west is less than east, south less than north.";
      return;
    }
    cost.textContent = "…";
    days.textContent = "";
    const { mosaic, query } = wanted();
    const [price, shares] = await Promise.allSettled([
      ask(exports(), { method: "POST", body: { ...ordered(), dry_run: true }, signal }),
      ask(`mosaics/${mosaic}/dates/${bounds()}?${query}`, { signal }),
    ]);
    if (mine !== looks) return;
    if (shares.value) days.textContent = `Days shown: ${list(shares.value.dates)}`;
    if (price.reason) return refuse(price.reason);
    const { width, height, bands, bytes, scenes, seconds } = price.value;
    cost.textContent = `${width} × ${height} px, ${bands} ${bands === 1 ? "band" : "bands"}, ${scenes.length} scenes, ` +
      `${size(bytes)}, about ${Math.max(1, Math.round(seconds))} s`;
  }

  function working(on) {
    field.send.disabled = on;
    field.cancel.hidden = bar.hidden = !on;
    if (!on) job = "";
  }

  async function send(event) {
    event.preventDefault();
    looks++;
    field.send.disabled = true;
    cost.textContent = "…";
    files.replaceChildren();
    bar.value = 0;
    try {
      job = `${exports()}/${(await ask(exports(), { method: "POST", body: ordered() })).jobID}`;
      working(true);
      await follow(job);
    } catch (error) {
      refuse(error);
    }
    working(false);
  }

  async function follow(mine) {
    for (;;) {
      const state = await ask(mine);
      bar.value = state.progress;
      cost.textContent = `${state.status}, ${state.progress} %`;
      if (state.status === "successful") break;
      if (state.status === "failed" || state.status === "dismissed") throw new Error(state.message || `The export is ${state.status}.`);
      await pause(0.5);
    }
    const written = await ask(`${mine}/results`);
    files.replaceChildren(...Object.entries(written).map(([name, { length }]) => {
      const link = Object.assign(document.createElement("a"), { href: keyed(`${mine}/results/${name}`), textContent: name, download: name });
      const item = document.createElement("li");
      item.append(link, ` ${size(length)}`);
      return item;
    }));
    cost.textContent = "Done.";
  }

  form.addEventListener("submit", send);
  form.addEventListener("change", () => {
    if (field.key.value) access.key = field.key.value;
    look();
  });
  field.cancel.addEventListener("click", () => ask(job, { method: "DELETE" }).catch(refuse));
  field.close.addEventListener("click", closeCard);

  return {
    look,
    of(content) {
      document.getElementById("what").textContent = wanted().isFormula ? "Formula" : "Bands";
      field.bands.value = content;
    },
    // Opens the form with the middle of the map as box; `content` are bands or a formula.
    open(content) {
      openCard(form, () => {
        stop();
        latest.abort();
        map.outlined();
      });
      this.of(content);
      writeMiddle();
      field.draw.focus();
      look();
    },
  };
}
