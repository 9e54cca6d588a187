"""How pictures are drawn, as hashes of their pixels: `python -m tests.golden.pictures` notes them anew.

The pixels that go in are made up here, so that only a change of how they are drawn changes a hash. What libraries make of the
pictures (PNG's packing, lossy formats) is theirs and not noted.
"""

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from terrazzo.bands import NODATA, STYLES
from terrazzo.formats import FORMATS
from terrazzo.mosaic.engine import Image
from terrazzo.mosaic.measure import Drawn
from terrazzo.mosaic.origin import GAIN_ONE, PREDICTED_DAY
from terrazzo.server.layers import LAYERS, legend
from terrazzo.server.render import PICTURES, render
from terrazzo.server.request import Ask, parse_ask
from terrazzo.store import Store
from terrazzo.version import open_version
from tests.golden.make import STORE

KNOWN = Path(__file__).with_name("pictures.json")
SIDE = 64
COLOURS = ("viridis", "rdylgn")


@dataclass(frozen=True)
class _Place:
    height: int = SIDE
    width: int = SIDE


def hashes() -> dict[str, str]:
    """A hash of each way to draw, by its name."""
    version = open_version(Store(STORE), "mosaic")
    out = {}

    def note(name: str, data: bytes) -> None:
        pixels = np.asarray(Picture.open(io.BytesIO(data)).convert("RGBA"))
        out[name] = hashlib.blake2b(pixels.tobytes(), digest_size=8).hexdigest()

    def drawn(query: dict[str, str], bands: tuple[str, ...], values: np.ndarray[Any, Any]) -> bytes:
        ask: Ask = parse_ask(query, version)
        image = Image(bands, values, *_origins(), version.entries("all"), ())
        return render(Drawn(values, image, (), ()), ask, _Place(), FORMATS["png"], {})  # type: ignore[arg-type]

    ramp = np.linspace(-500, 9000, SIDE * SIDE).astype(np.int16).reshape(SIDE, SIDE)
    ramp[:4, :4] = NODATA
    three = np.stack([ramp, ramp.T, ramp[::-1]])
    note("three bands", drawn({}, ("B04", "B03", "B02"), three))
    note("one band", drawn({"bands": "B04"}, ("B04",), ramp[None]))
    for name in COLOURS:
        note(name, drawn({"bands": "B04", "colormap_name": name}, ("B04",), ramp[None]))
    index = np.where(ramp == NODATA, np.nan, ramp / 9000).astype(np.float32)[None]
    for name, style in STYLES.items():
        if style.expression:
            note(f"style {name}", drawn({"style": name}, style.bands, index))
    classes = np.where(ramp == NODATA, NODATA, np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 9)
    note("mask", drawn({"stage": "mask"}, ("mask",), classes.astype(np.int16)[None]))
    for name, layer in LAYERS.items():
        note(f"layer {name}", drawn({"style": name}, (name,), _numbers(name)[None]))
        note(f"legend {name}", _upper(legend(layer), 14 if name == "quality" else 200))
    # −1: predicted, of no day.
    predicted = np.where(_numbers("date") % 2, PREDICTED_DAY, _numbers("date")).astype(np.int16)
    note("layer date predicted", drawn({"style": "date"}, ("date",), predicted[None]))
    return out


def _origins() -> tuple[Any, Any, Any]:
    zeros = np.zeros((SIDE, SIDE))
    return zeros.astype(np.int16), zeros.astype(np.uint8), zeros.astype(np.uint8)


def _numbers(name: str) -> np.ndarray[Any, Any]:
    """Numbers of a layer over all that it may hold."""
    first, last = {
        "scene": (0, 2),
        "date": (19_570, 19_580),
        "age": (-5, 40),
        "count": (0, 20),
        "quality": (0, 512),
        "score": (0, 101),
        "spread": (0, 700),
        "sigma": (0, 1000),
        "gain": (GAIN_ONE - 3000, GAIN_ONE + 3000),
    }[name]
    out = np.linspace(first, last, SIDE * SIDE, endpoint=False).astype(np.int16).reshape(SIDE, SIDE)
    out[:4, :4] = NODATA
    return out


def _upper(data: bytes, width: int) -> bytes:
    """The part of a legend without letters, which are the font's."""
    out = io.BytesIO()
    Picture.open(io.BytesIO(data)).crop((0, 0, width, 26)).save(out, "PNG")
    return out.getvalue()


def main() -> None:
    """Notes them.

    Raises:
        SystemExit: they differ from those noted under the same number.
    """
    now = {"pictures": PICTURES, "hashes": hashes()}
    known = json.loads(KNOWN.read_text()) if KNOWN.exists() else now
    common = known["hashes"].keys() & now["hashes"].keys()
    if known["pictures"] == PICTURES and any(known["hashes"][k] != now["hashes"][k] for k in common):
        raise SystemExit("pictures changed: raise PICTURES in server/render.py first")
    KNOWN.write_text(json.dumps(now, indent=1) + "\n")


if __name__ == "__main__":
    main()
