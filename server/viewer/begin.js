// The map of a store without a mosaic: a box and dates become the commands that show the place. The page itself starts nothing.
import { boxFields } from "./box.js";
import { line } from "./share.js";
import { loading } from "./signs.js";

const card = document.getElementById("begin");
const field = card.elements;
const menus = document.getElementById("controls");
const commands = document.getElementById("commands");
const DAYS = 30;
// Pixels of the map beside a box that somebody wrote, on all sides.
const AWAY = [90, 90, 90, 90];
const KM = 111.2;
// As `terrazzo acquire` fetches: windows of 5.12 km, two of them around the area; whole tiles of 109.8 km from half of one on.
const [WINDOW, AROUND, TILE, HALF] = [5.12, 2, 109.8, 0.5];
// Bytes of ten bands of a whole tile on average, and products for three clear observations of every place, in bad weather and good.
const [WHOLE, FEW, MANY] = [0.73e9, 3, 9];

const iso = (moment) => new Date(moment).toISOString().slice(0, 10);
// Two digits: it is an estimate.
const rounded = (value) => Number(value.toPrecision(2));
const size = (bytes) => (bytes < 995e6 ? `${rounded(bytes / 1e6)} MB` : `${rounded(bytes / 1e9)} GB`);

// Kilometres of a box in degrees, from west to east and from south to north.
function sides([west, south, east, north]) {
  const width = (east - west + 360) % 360 || 360;
  return [width * KM * Math.cos((((south + north) / 2) * Math.PI) / 180), (north - south) * KM];
}

// Bytes that a date of a box takes: the part of a tile that it needs, or the tiles that it covers.
function bytesOf(box) {
  const [wide, high] = sides(box).map((side) => (Math.ceil(side / WINDOW) + 2 * AROUND) * WINDOW);
  const share = (wide * high) / TILE ** 2;
  const [tilesWide, tilesHigh] = sides(box).map((side) => side / 100 + 1);
  return WHOLE * (share <= HALF ? share : tilesWide * tilesHigh);
}

function write(box) {
  const [first, last] = [field.first.value, field.last.value];
  const asks = `--bbox ${box.bounds().join(" ")} --datetime ${first === last ? first : `${first}/${last}`} --store STORE`;
  const right = box.isBox() && first && last && first <= last;
  const [wide, high] = sides(box.bounds()).map((side) => Math.max(1, Math.round(side)));
  const date = bytesOf(box.bounds());
  field.size.textContent = right
    ? `${wide} × ${high} km. About ${size(date)} a date; ${FEW} to ${MANY} dates show every place clear three times: ${size(FEW * date)} to ${size(MANY * date)}. The first look takes a few MB.`
    : box.isBox() ? "Choose days: the first is not after the last." : "Draw or write a box: west is less than east, south less than north.";
  commands.replaceChildren(...(right ? [
    line("Look at it, then compute the mosaic", `terrazzo live ${asks} --port 0`),
    line("Look at it while a file is written", `terrazzo get --live ${asks} -o place.tif`),
  ] : []));
}

// Opens the card. `says` shows what the server says of its empty store; `end` gives the page back to the mosaic.
export async function chooseFirst(map) {
  // Before the form listens: what cannot be loaded is tried once more from the start.
  const away = await map.orientation();
  const box = boxFields(card, map, () => {
    write(box);
    commands.scrollIntoView({ block: "nearest" });
  });
  // Who writes a box sees where it lies; a drawn one is in view.
  const written = ({ target }) => target.type === "number" && box.isBox() && map.fit(box.bounds(), AWAY);
  const middle = () => {
    box.writeMiddle();
    write(box);
  };
  const changed = () => {
    box.outline();
    write(box);
  };
  const still = (event) => event.preventDefault();
  card.addEventListener("input", changed);
  card.addEventListener("change", written);
  card.addEventListener("submit", still);
  field.middle.addEventListener("click", middle);
  [field.first.value, field.last.value] = [iso(Date.now() - DAYS * 864e5), iso(Date.now())];
  menus.hidden = true;
  document.body.classList.add("beginning");
  card.hidden = false;
  loading(false);
  write(box);
  return {
    says: (text = "") => { document.getElementById("empty").textContent = text; },
    end() {
      box.stop();
      away();
      card.hidden = true;
      map.outlined();
      menus.hidden = false;
      document.body.classList.remove("beginning");
      card.removeEventListener("input", changed);
      card.removeEventListener("change", written);
      card.removeEventListener("submit", still);
      field.middle.removeEventListener("click", middle);
    },
  };
}
