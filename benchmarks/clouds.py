"""The cloud masks measured: `python -m benchmarks.clouds --data FOLDER [--anchors PYTHON] [--before CHECKOUT]`.

FOLDER holds `labelled/` and `imagery/`. Every place is judged by a classifier fitted without it. `--anchors` names the Python of an
environment with s2cloudless and ukis-csmask (how to make it: benchmarks/anchors.py), which then judge the same pixels. Figures come with
their standard error over places (±); those of single images without. What is asked:

- goals: with `--before`, a checkout of another state of the code, the figures of both by number of bands, and their paired difference
- pixels: labelled pixels of 12 places, whose labels are ukis-csmask's own where it was sure; 115 pixels labelled by hand
- masks: whole masks, objects, shadows and rims settled, of clear images under simulated clouds, where every pixel's class is known
- dense scene: one Landsat 5 scene labelled pixel by pixel, never trained on (another sensor; six bands; no sun given)
- clear scenes: what is called cloud or shadow in the clear images; those under cirrus, which B10 shows, apart
- mosaic: a 30-date series at 10 m, five cloudy dates and three clear ones each time, against the three clear ones' median
- speed: one scene of full size from Cloud-Optimized GeoTIFF to weight
"""

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pandas as pd
import rasterio
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.goals import Judged, anchors, compared_with
from benchmarks.series import data_option
from terrazzo.bands import MaskClass
from terrazzo.mosaic.merge import merge
from terrazzo.precompute.clouds.mask import mask_scene
from terrazzo.precompute.clouds.model import BANDS, SIX, Model, load_model
from terrazzo.precompute.clouds.train.elsewhere import clear_elsewhere
from terrazzo.precompute.clouds.train.fit import Trainer
from terrazzo.precompute.clouds.train.measure import left_out, probabilities, scores
from terrazzo.precompute.clouds.train.samples import points
from terrazzo.precompute.clouds.train.scenes import (
    CIRRUS,
    Picked,
    clear_images,
    images,
    place_of,
    read,
    simulated,
)
from terrazzo.precompute.clouds.train.simulate import B10, CLOUD, SHADOW, THIN
from terrazzo.precompute.normalize.distance import distance_weight

SKY_SEED = 77
"""Of the skies that are judged; training draws others."""
PIXEL = 10.0
Image = NDArray[np.float32]


def ours(
    image: Image, model: Model, pixel: float, sun: tuple[float, float] | None, bands: tuple[str, ...] = BANDS
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """0 clear, 1 cloud, 2 shadow, of our mask; and its probabilities."""
    made = mask_scene(
        lambda a, b: image[:, a:b], image.shape[1:], bands, level="L1C", pixel=pixel, sun=sun, choice="model", model=model
    )  # fmt: skip
    told = np.zeros(made.classes.shape, np.uint8)
    told[np.isin(made.classes, (MaskClass.CLOUD, MaskClass.THIN_CLOUD))] = 1
    told[made.classes == MaskClass.SHADOW] = 2
    return told, made.probabilities


def compared(told: NDArray[np.uint8], truth: NDArray[np.int64], mode: str = "all") -> dict[str, float]:
    """Scores of 0 clear, 1 cloud, 2 shadow against classes; -1 counts nowhere."""
    t, x = truth[truth >= 0].ravel(), told[truth >= 0].ravel()
    cloud, bad, dark = np.isin(t, (CLOUD, THIN)), np.isin(t, (CLOUD, THIN, SHADOW)), t == SHADOW

    def balanced(true: NDArray[np.bool_], said: NDArray[np.bool_]) -> float:
        return (
            float((said[true].mean() + (~said[~true]).mean()) / 2) if true.any() and (~true).any() else np.nan
        )

    f1 = 2 * ((x == 1) & cloud).sum() / max((x == 1).sum() + cloud.sum(), 1)
    return {
        "cloud_accuracy": balanced(cloud, x == 1),
        "cloud_f1": float(f1) if cloud.any() else np.nan,
        "thin_found": float((x == 1)[t == THIN].mean()) if (t == THIN).any() else np.nan,
        "clear_kept": float((x == 0)[~bad].mean()) if (~bad).any() else np.nan,
        "shadow_PA": float((x == 2)[dark].mean()) if dark.any() else np.nan,
        "shadow_UA": float(dark[x == 2].mean()) if (x == 2).any() else np.nan,
        "with_shadow": balanced(bad, x > 0),
    }


def mean_error(rows: list[dict[str, float]], place: list[str]) -> dict[str, str]:
    """Mean over places, ± its standard error."""
    each = pd.DataFrame(rows).groupby(np.array(place)).mean()
    mean, error = each.mean(), each.std() / np.sqrt(each.count())
    return {k: f"{mean[k]:.3f} ± {error[k]:.3f}" if np.isfinite(mean[k]) else "" for k in each}


def pixels(trainer: Trainer, models: dict[str, Model], told: dict[str, Judged]) -> pd.DataFrame:
    """Per-pixel scores on the labelled pixels, and of everyone on the pixels labelled by hand."""
    real, hand = trainer.real, points(trainer.data)
    lines = {}
    rows = [
        scores(probabilities(m, type(real)(*(c[real.place == p] for c in real))), real.label[real.place == p])
        for p, m in models.items()
    ]
    lines[("labelled pixels", "ours, 13 bands")] = mean_error(rows, list(models))
    parts = [(m, hand.place == p) for p, m in models.items() if (hand.place == p).any()]
    p = np.concatenate([probabilities(m, type(hand)(*(c[at] for c in hand))) for m, at in parts], axis=1)
    label = np.concatenate([hand.label[at] for _, at in parts])
    said = np.where(p[[CLOUD, THIN]].sum(0) > 0.5, 1, np.where(p[[CLOUD, THIN, SHADOW]].sum(0) > 0.5, 2, 0))
    lines[("by hand", "ours, pixel")] = _rounded(compared(said.astype(np.uint8), label))
    table = pd.read_csv(trainer.data / "labelled" / "points.csv")
    table = table[table["label"] != "uncertain"]
    truth = points(trainer.data).label
    judged = {
        n: [told[i].get(n) for i in table["patch"]] for n in ("ours, mask", "s2cloudless", "ukis10", "ukis20")
    }
    for name, each in judged.items():
        if all(a is not None for a in each):
            values = np.array([a[r, c] for a, r, c in zip(each, table["row"], table["col"], strict=True)])
            lines[("by hand", name)] = _rounded(compared(values, truth))
    return pd.DataFrame(lines).T.fillna("")


def masks(told: dict[str, Judged], truth: dict[str, tuple[str, NDArray[np.int64]]]) -> pd.DataFrame:
    """Scores of whole masks where every pixel's class is known, over places."""
    lines = {}
    for judge in ("ours, mask", "ours, no sun", "s2cloudless", "ukis10", "ukis20"):
        some = [n for n in truth if judge in told[n]]
        if some:
            lines[("simulated skies", judge)] = mean_error(
                [compared(told[n][judge], truth[n][1]) for n in some], [truth[n][0] for n in some]
            )
    return pd.DataFrame(lines).T.fillna("")


def dense(path: Path, python: Path | None, folder: Path) -> pd.DataFrame:
    """The densely labelled scene."""
    with np.load(path) as file:
        image, raw = np.moveaxis(file["img"], -1, 0), file["msk"][..., 0]
    truth = np.select([raw == 0, raw == 4], [SHADOW, CLOUD], 0)
    told, p = ours(image, load_model("L1C"), 30.0, None, SIX)
    lines = {"ours, mask": _rounded(compared(told, truth))}
    lines["ours, likeliest"] = _rounded(
        compared(np.array([0, 0, 0, 1, 1, 2], np.uint8)[p.argmax(axis=0)], truth)
    )
    # Of all thresholds on the probability of shadow the one that finds most while 85 % of what it calls shadow is.
    clear = p[[CLOUD, THIN]].sum(axis=0, dtype=int) <= 125
    best = max(
        (
            (s := (p[SHADOW] >= t) & clear)[truth == SHADOW].mean() * ((truth == SHADOW)[s].mean() >= 0.85)
            for t in range(5, 250, 5)
            if ((p[SHADOW] >= t) & clear).any()
        ),
        default=0.0,
    )
    lines["ours, shadow at UA ≥ .85"] = {"shadow_PA": f"{best:.3f}"}
    for judge, said in anchors(python, {"dense": image.astype(np.float32)}, folder)["dense"].items():
        lines[judge] = _rounded(compared(said, truth))
    return pd.DataFrame(lines).T.fillna("")


def _rounded(values: dict[str, float]) -> dict[str, str]:
    return {k: f"{v:.3f}" if np.isfinite(v) else "" for k, v in values.items()}


def false_alarms(data: Path, told: dict[str, Judged], further: list[str]) -> pd.DataFrame:
    """Mean and worst share of the clear images called cloud or shadow, those of further places apart."""
    clear = [p for p in images(data) if p.stem.endswith("_clear")]
    veiled = [p for p in clear if np.median(read(p)[B10]) > CIRRUS * 10_000]
    lines = {}
    groups = {
        "without cirrus": [p.stem for p in clear if p not in veiled],
        "under cirrus": [p.stem for p in veiled],
        **{place: [n for n in told if n.startswith(f"{place}/")] for place in further},
    }
    for name, some in groups.items():
        for judge in ("ours, mask", "s2cloudless", "ukis10", "ukis20"):
            shares = [(told[n][judge] > 0).mean() for n in some if judge in told[n]]
            if shares:
                lines[(f"{name} ({len(shares)})", judge)] = {"mean": np.mean(shares), "worst": np.max(shares)}
    return pd.DataFrame(lines).T.round(3)


def mosaic(data: Path, told: dict[str, Judged]) -> pd.DataFrame:
    """RMSE against the clear dates' median, and coverage, of mosaics of three clear and five cloudy dates in turn."""
    paths = [p for p in images(data) if p.parent.name == "ts"]
    stack = {p.stem: read(p)[[BANDS.index(b) for b in SIX]].astype(np.float32) / 10_000 for p in paths}
    blue = {n: np.median(a[0]) for n, a in stack.items()}
    names = sorted(stack)
    # Clear: as dark in blue as the darkest third of the dates, and of even darkness.
    spread = {n: np.percentile(stack[n][0], 98) - np.percentile(stack[n][0], 50) for n in names}
    clear = sorted(names, key=lambda n: blue[n] + spread[n])[:12]
    clear.sort()
    cloudy = [n for n in names if n not in clear]
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for k in range(0, 12, 3):
        good = clear[k : k + 3]
        middle = names.index(good[1])
        bad = sorted(cloudy, key=lambda n: abs(names.index(n) - middle))[:5]
        chosen, truth = good + bad, np.median([stack[n] for n in good], axis=0)
        values = np.stack([stack[n] for n in chosen])
        for judge in ("nothing", "ours, mask", "s2cloudless", "ukis10", "ukis20"):
            if judge != "nothing" and judge not in told[chosen[0]]:
                continue
            keep = np.stack(
                [
                    np.ones(truth.shape[1:], bool) if judge == "nothing" else told[n][judge] == 0
                    for n in chosen
                ]
            )
            methods: dict[str, Callable[[], Image]] = {"median": lambda: _median(values, keep)}  # noqa: B023
            if judge != "nothing":
                methods["robust"] = lambda: _merged(values, keep)  # noqa: B023
            for method, make in methods.items():
                made = make()
                error = made - truth
                covered = np.isfinite(made[0])
                rows.setdefault(f"{judge}, {method}", []).append(
                    (
                        float(np.sqrt(np.nanmean(error[0] ** 2))),
                        float(np.sqrt(np.nanmean(error**2))),
                        float(covered.mean()),
                    )
                )
    names_of = ("RMSE B02", "RMSE 6 bands", "coverage")
    return pd.DataFrame(
        {n: dict(zip(names_of, np.mean(v, axis=0), strict=True)) for n, v in rows.items()}
    ).T.round(4)


def _median(values: Image, keep: NDArray[np.bool_]) -> Image:
    with np.errstate(all="ignore"):
        return np.asarray(np.nanmedian(np.where(keep[:, None], values, np.nan), axis=0))


def _merged(values: Image, keep: NDArray[np.bool_]) -> Image:
    weight = np.stack([np.where(k, np.maximum(np.rint(255 * distance_weight(k, PIXEL)), 1), 0) for k in keep])
    return np.asarray(merge(values, weight.astype(np.uint8), method="robust").values)


def speed(image: Image, folder: Path, side: int) -> str:
    """Mpx/s of 10 m pixels from COGs of six bands to the weight, on as many cores as there are."""
    repeats = [-(-side // n) for n in image.shape[1:]]
    for band in SIX:
        step = 2 if band in ("B11", "B12") else 1
        whole = np.tile(image[BANDS.index(band)], repeats)[:side:step, :side:step]
        profile = {
            "driver": "COG",
            "dtype": "uint16",
            "count": 1,
            "height": whole.shape[0],
            "width": whole.shape[1],
            "blocksize": 512,
            "compress": "deflate",
        }
        with rasterio.open(
            folder / f"{band}.tif",
            "w",
            **profile,
            crs="EPSG:32633",
            transform=rasterio.Affine(10 * step, 0, 0, 0, -10 * step, 0),
        ) as target:
            target.write(np.rint(whole * 10_000).astype(np.uint16), 1)
    half = side // 2
    mask_scene(
        lambda a, b: image[[BANDS.index(x) for x in SIX], a:b],
        image.shape[1:],
        SIX,
        level="L1C",
        pixel=20.0,
        sun=(40, 150),
    )
    start, cpu = time.perf_counter(), time.process_time()
    numbers = np.empty((len(SIX), half, half), np.uint16)
    for k, band in enumerate(SIX):
        with rasterio.open(folder / f"{band}.tif", num_threads="all_cpus") as source:
            numbers[k] = source.read(1, out_shape=(half, half))
    read_in = time.perf_counter() - start
    made = mask_scene(
        lambda a, b: numbers[:, a:b].astype(np.float32) * np.float32(1e-4),
        (half, half),
        SIX,
        level="L1C",
        pixel=20.0,
        sun=(40, 150),
    )
    masked = time.perf_counter() - start
    keep = np.isin(made.classes, (MaskClass.LAND, MaskClass.WATER, MaskClass.SNOW))
    np.rint(255 * distance_weight(keep, 20.0)).astype(np.uint8)
    took = time.perf_counter() - start
    cpu = time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return f"{side**2 / took / 1e6:.1f} Mpx/s of 10 m pixels ({side} px: read {read_in:.1f} s, mask {masked - read_in:.1f}, weight {took - masked:.1f}; {cpu:.1f} CPU-s); peak {peak:.2f} GB"


def reliability(trainer: Trainer, models: dict[str, Model], output: Path) -> str:
    """Draws how often a class of a given probability is true, on places left out; returns the mean gap."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots(1, 2)
    gaps = []
    for name, samples in (("labelled pixels", trainer.real), ("simulated skies", trainer.sky)):
        parts = [(m, samples.place == p) for p, m in models.items() if (samples.place == p).any()]
        p = np.concatenate([probabilities(m, Picked(*(c[at] for c in samples))) for m, at in parts], axis=1)
        label = np.concatenate([samples.label[at] for _, at in parts])
        for ax, (title, which) in zip(axes, (("cloud", (CLOUD, THIN)), ("shadow", (SHADOW,))), strict=True):
            told, so = p[list(which)].sum(axis=0), np.isin(label, which)
            tenth = np.minimum((told * 10).astype(int), 9)
            there = [k for k in range(10) if (tenth == k).any()]
            said, was = ([v[tenth == k].mean() for k in there] for v in (told, so))
            gap = sum(abs(a - b) * (tenth == k).mean() for k, a, b in zip(there, said, was, strict=True))
            ax.plot(said, was, "o-", label=f"{name}, mean gap {gap:.3f}")
            ax.set_title(title)
            gaps.append(f"{name}, {title} {gap:.3f}")
    for ax in axes:
        ax.plot([0, 1], [0, 1], "k:", linewidth=1)
        ax.set_xlabel("probability told")
        ax.set_ylabel("share that is so")
        ax.legend(fontsize=8)
    figure.savefig(output, dpi=100)
    return "; ".join(gaps)


@click.command()
@data_option(required=True)
@click.option(
    "--anchors",
    "python",
    type=click.Path(exists=True, path_type=Path),
    help="Python with s2cloudless and ukis-csmask",
)
@click.option(
    "--reliability",
    "picture",
    type=click.Path(dir_okay=False, path_type=Path),
    help="PNG to draw reliability into",
)
@click.option(
    "--before",
    type=click.Path(exists=True, path_type=Path),
    help="checkout of the code to compare with, such as a git worktree of main",
)
@click.option(
    "--models",
    type=click.Path(path_type=Path),
    help="folder to keep fitted classifiers in, before/ and after/, for the next run",
)
@click.option("--only-goals", is_flag=True, help="print the goals and nothing else")
@click.option("--only-speed", is_flag=True, help="time one scene and nothing else")
@click.option("--side", default=10980, show_default=True, help="pixels across of the scene that is timed")
def main(
    data: Path,
    python: Path | None,
    picture: Path | None,
    before: Path | None,
    models: Path | None,
    only_goals: bool,
    only_speed: bool,
    side: int,
) -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if before:
            click.echo(
                f"goals\n{compared_with(before, data, folder, models or folder, python).to_string()}\n"
            )
        if only_goals:
            return
        first = next(p for p in images(data) if "2018-09-18" in p.stem)
        click.echo(f"speed: {speed(read(first).astype(np.float32) / 10_000, folder, side)}\n")
        if only_speed:
            return
        trainer = Trainer(data, "L1C")
        fits = left_out(trainer)
        asked = {p.stem: (read(p) / np.float32(10_000)).astype(np.float32) for p in images(data)}
        further = {f"{c.place}/{k}": c for k, c in enumerate(clear_elsewhere(data))}
        asked |= {name: c.reflectance.astype(np.float32) for name, c in further.items()}
        truth, suns = {}, {}
        for k, path in enumerate(clear_images(data)):
            sky = simulated(
                asked[path.stem].astype(np.float64), PIXEL, "L1C", np.random.default_rng([SKY_SEED, k])
            )
            asked[f"sky{k}"] = sky.reflectance.astype(np.float32)
            truth[f"sky{k}"], suns[f"sky{k}"] = (place_of(path), sky.label), sky.sun
        told = anchors(python, asked, folder)
        for key, image in asked.items():
            if key in further:
                place = further[key].place
            else:
                place = truth[key][0] if key in truth else place_of(Path(f"{key}.tif"))
            told[key]["ours, mask"] = ours(image, fits[place], PIXEL, suns.get(key))[0]
            if key in suns:
                told[key]["ours, no sun"] = ours(image, fits[place], PIXEL, None)[0]
        if picture:
            click.echo(f"mean gap of probability and share: {reliability(trainer, fits, picture)}\n")
        click.echo(f"pixels\n{pixels(trainer, fits, told).to_string()}\n")
        click.echo(f"masks\n{masks(told, truth).to_string()}\n")
        scene = data / "imagery" / "reference_spectra" / "ukis_csmask_landsat5_labelled_6band.npz"
        click.echo(f"dense scene\n{dense(scene, python, folder).to_string()}\n")
        click.echo(
            f"clear scenes, called cloud or shadow\n{false_alarms(data, told, sorted({c.place for c in further.values()})).to_string()}\n"
        )
        click.echo(f"mosaic\n{mosaic(data, told).to_string()}")


if __name__ == "__main__":
    main()
