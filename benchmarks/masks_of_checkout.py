"""Masks of many images by the code of a checkout: `PYTHON benchmarks/masks_of_checkout.py CHECKOUT DATA CASES.npz OUT.npz MODELS`.

So that two states of the code judge the same pixels in one run of `benchmarks.goals`. Each case is judged by a classifier that the checkout
fits without the case's place; MODELS keeps these for another run.

CASES.npz holds for each `NAME.image` (band, row, col) reflectance of 13 bands, and in `cases` a JSON list of what else is known of it: name,
place, level, pixel, bands, sun. OUT.npz holds (row, col) classes by name, and clear scores as `NAME/score` where the checkout has them.
"""

import json
import sys
from pathlib import Path

import numpy as np


def fitted(data, level, places, kept):
    """A classifier for each place, fitted to all others; the shipped one for a place that nothing was trained on."""
    from terrazzo.precompute.clouds.model import Model, load_model, unpacked
    from terrazzo.precompute.clouds.train.fit import Trainer

    out, missing = {}, []
    for place in places:
        path = kept / f"{level} {place}.npz"
        if path.exists():
            with np.load(path) as arrays:
                out[place] = Model(*unpacked(dict(arrays)), "")
        else:
            missing.append((place, path))
    trainer = Trainer(data, level) if missing else None
    for place, path in missing:
        if not (np.isin(place, trainer.real.place) or np.isin(place, trainer.sky.place)):
            out[place] = load_model(level)
            continue
        model = out[place] = trainer.fit(without=(place,))
        layers = {f"w{i}": w for i, w in enumerate(model.weights)}
        layers |= {f"b{i}": b for i, b in enumerate(model.biases)}
        np.savez(path, mean=model.mean, scale=model.scale, temperature=model.temperature, **layers)
    return out


def main(checkout, data, source, target, kept):
    sys.path.insert(0, checkout)
    from terrazzo.precompute.clouds.mask import mask_scene
    from terrazzo.precompute.clouds.model import BANDS

    try:
        from terrazzo.precompute.clouds.score import clear_score
    except ImportError:
        # An older checkout has no scores.
        clear_score = None
    folder = Path(kept)
    folder.mkdir(parents=True, exist_ok=True)
    out = {}
    with np.load(source) as images:
        cases = json.loads(str(images["cases"]))
        for level in ("L1C", "L2A"):
            here = [c for c in cases if c["level"] == level]
            models = fitted(Path(data), level, sorted({c["place"] for c in here}), folder)
            for c in here:
                image = images[f"{c['of']}.image"][[BANDS.index(b) for b in c["bands"]]]
                mask = mask_scene(
                    lambda a, b, image=image: image[:, a:b], image.shape[1:], tuple(c["bands"]), level=level, pixel=c["pixel"],
                    sun=c["sun"] and tuple(c["sun"]), choice="model", model=models[c["place"]],
                )  # fmt: skip
                out[c["name"]] = mask.classes
                if clear_score is not None:
                    out[f"{c['name']}/score"] = clear_score(mask)
    np.savez_compressed(target, **out)


if __name__ == "__main__":
    main(*sys.argv[1:])
