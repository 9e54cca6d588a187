"""The report of a version: what normalization and merging did to it, as figures and pictures, in one file."""

import base64
import html
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any

import matplotlib.image
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from terrazzo import gains
from terrazzo.bands import NODATA
from terrazzo.config import Method, Stage
from terrazzo.diff import Change, boxes, difference
from terrazzo.mosaic.engine import FILLED, Image
from terrazzo.precompute.judge import seams
from terrazzo.raster import reflectance
from terrazzo.store import Store
from terrazzo.version import Version, gains_key, version_key
from terrazzo.words import counted

LONGEST = 1000
"""Pixels of the longer side the report works on: the figures change little, the work fourfold."""
LEAST_SIDE = 4
"""Pixels of a window's side from which the windows' grid is looked for."""
CHARTED = 200
"""Scenes whose gains are charted: a picture has at most 65,535 rows, and nobody reads thousands."""
SITES = 150
"""Places along the borders of one kind; the benchmark takes more."""
STEPS_NOTE = (
    '<p class="note">Mean over places and days of |step of the mosaic − step of the day|, in 1e-4 of reflectance. For comparison:'
    " the same between two single days (one day), in the mosaic away from borders (elsewhere), and the mosaic's whole step"
    " divided by the land's (÷ land's).</p>"
)
COLOURS = {"B02": "tab:blue", "B03": "tab:green", "B04": "tab:red", "B08": "tab:purple"}
METHODS: tuple[Method, ...] = ("feather", "robust")
STAGES: dict[str, Stage] = {"off": "merged", "on": "normalized"}


def write_report(store: Store, version: Version, previous: Version | None = None) -> None:
    """Writes report.json and report.html of a version; does nothing where they are.

    Args:
        previous: the version before, for the differences in the report.
    """
    keys = [version_key(version.mosaic_id, version.name, f"report.{kind}") for kind in ("json", "html")]
    if all(map(store.exists, keys)):
        return
    parts = [
        _zone(store, seams.View(version, name, epsg, LONGEST))
        for name, period in version.periods.items()
        if not period.members
        for epsg in version.zones
        if any(e.scene.epsg == epsg for e in version.entries(name))
    ]
    figures = {
        "mosaic": version.mosaic_id,
        "version": version.name,
        "normalized": version.normalized,
        "attribution": version.attribution,
        "apart": {name: apart.as_json() for name, apart in version.apart.items()},
        "parts": [f for f, _ in parts],
    }
    change = difference(previous, version) if previous and previous.name != version.name else None
    if change is not None:
        figures["change"] = change.as_json()
    page = Template((files("terrazzo.precompute.judge") / "report.html").read_text()).substitute(
        title=html.escape(f"{version.mosaic_id}, version {version.name}"),
        summary=f"{counted(sum(len(f['scenes']) for f, _ in parts), 'scene')}, periods {html.escape(', '.join(version.periods))}."
        " Reflectance is in units of 1e-4, agreement in per cent.",
        body=_apart(version) + _change(change) + "".join(_section(f, p) for f, p in parts),
        attribution=html.escape(version.attribution),
    )
    store.write_json(keys[0], figures)
    store.write_bytes(keys[1], page.encode())


def _zone(store: Store, view: seams.View) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Figures and pictures of a period's part in one zone."""
    stages = STAGES if view.version.normalized else {"off": STAGES["off"]}
    scenes = dict(zip(stages, seams.read_scenes(view, *stages.values()), strict=True))
    images = {(m, k): view.composite(m, s) for m in METHODS for k, s in stages.items()}
    last = next(reversed(stages))
    best = images["feather", last]
    shown = best.values[0] != NODATA
    figures = {
        "period": view.period,
        "epsg": view.epsg,
        "pixel": view.pixel,
        "bands": list(view.bands),
        "same_day": {k: seams.same_day(s) for k, s in scenes.items()},
        "between_dates": {k: seams.between_dates(s) for k, s in scenes.items()},
        "residual_cloud": {
            f"{m} {k}": _rounded(seams.residual_cloud(scenes[k], image)) for (m, k), image in images.items()
        },
        "error_steps": _steps(scenes, images),
        "window_grid": _grid(view, images),
        "coverage": {
            "shown": int(shown.sum()),
            "filled": round(float((best.quality[shown] & FILLED > 0).mean()), 5) if shown.any() else 0.0,
            "depth": round(float(best.count[shown].mean()), 2) if shown.any() else 0.0,
        },
        "scenes": _scenes(store, view, images, last),
    }
    pictures = {f"{m}, normalization {k}": _natural(view, image) for (m, k), image in images.items()}
    pictures["clear scenes, 0 to " + str(int(best.count.max()))] = _map(best.count, shown, "viridis")
    pictures["day shown, oldest dark"] = _map(_days(view, best), shown, "magma")
    if view.version.normalized:
        which = "each scene" if len(view.entries) <= CHARTED else f"the first {CHARTED} scenes"
        pictures[f"gains of {which}: middle and range over its windows, by band"] = _gains(view)
    return figures, pictures


def _rounded(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {k: None if np.isnan(v) else round(v, 6) for k, v in figures.items()}


def _steps(
    scenes: Mapping[str, seams.Scenes], images: Mapping[tuple[Method, str], Image]
) -> list[dict[str, Any]]:
    """Error steps at each kind of border, and at the same squares moved to where no border is."""
    rows = []
    for reach in (seams.NEAR, seams.WIDE // 2):
        for kind, where in seams.places(scenes["off"], reach, SITES).items():
            elsewhere = where.moved(3 * reach, scenes["off"].values.shape[2:])
            for (method, state), image in images.items():
                lands = scenes[state].by_date
                pictures = dict.fromkeys(lands, reflectance(image.values))
                steps = seams.error_step(where, pictures, lands)
                null = seams.error_step(elsewhere, pictures, lands)
                if steps.count:
                    rows.append(
                        {
                            "border": kind,
                            "metres": reach * scenes["off"].view.pixel,
                            "method": method,
                            "normalize": state,
                            "step": _counts(steps.error),
                            "single_day": _counts(steps.single),
                            "elsewhere": _counts(null.error),
                            "ratio": _ratios(seams.step_ratio(where, reflectance(image.values), lands)),
                            "count": steps.count,
                        }
                    )
    return rows


def _grid(view: seams.View, images: Mapping[tuple[Method, str], Image]) -> dict[str, list[float | None]]:
    """What of the windows' grid shows in each picture; nothing at a pixel at which windows have no inside."""
    side = view.version.store.config.window >> view.level
    if side < LEAST_SIDE:
        return {}
    return {
        f"{m} {k}": _ratios(seams.window_grid(reflectance(image.values), side))
        for (m, k), image in images.items()
    }


def _ratios(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(v) else round(float(v), 4) for v in values]


def _counts(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(v) else round(1e4 * float(v), 1) for v in values]


def _scenes(
    store: Store, view: seams.View, images: Mapping[tuple[Method, str], Image], state: str
) -> list[dict[str, Any]]:
    """Each scene's share of the picture, and what its gains left over."""
    shares = {}
    for method in METHODS:
        image = images[method, state]
        used = Counter(image.provenance[image.provenance >= 0].tolist())
        total = max(sum(used.values()), 1)
        shares[method] = {image.entries[i].scene.id: n / total for i, n in used.items()}
    residuals: dict[str, Mapping[str, float | None]] = {}
    if view.version.normalized:
        for mgrs in {e.scene.mgrs for e in view.entries}:
            key = gains_key(view.version.mosaic_id, view.version.name, view.period, mgrs)
            residuals |= store.read_json(key.removesuffix(".npy") + ".json").get("residual", {})
    return [
        {
            "id": e.scene.id,
            "clear": round(e.scene.clear_share, 4),
            "haze_weight": round(e.haze, 3),
            "share": {m: round(shares[m].get(e.scene.id, 0.0), 4) for m in METHODS},
            "residual": dict(residuals.get(e.scene.id, {})),
        }
        for e in view.entries
    ]


# --- pictures --------------------------------------------------------------------------------------------


def _natural(view: seams.View, image: Image) -> bytes:
    """A JPEG in natural colours, every channel stretched alike whichever stage is shown: steps stay visible."""
    numbers = [view.bands.index(b) for b in ("B04", "B03", "B02") if b in view.bands]
    rho = image.values[numbers if len(numbers) == 3 else numbers[:1] * 3] * 1e-4
    seen = image.values[0] != NODATA
    stretched = np.where(seen, np.clip((rho - 0.005) / 0.125, 0, 1) ** (1 / 1.2), 1)
    return _jpeg((255 * stretched).astype(np.uint8).transpose(1, 2, 0))


def _map(values: NDArray[Any], shown: NDArray[np.bool_], colours: str) -> bytes:
    low, high = (values[shown].min(), values[shown].max()) if shown.any() else (0, 1)
    scaled = (values.astype(float) - low) / max(high - low, 1)
    rgb = np.where(shown[..., None], colormaps[colours](np.clip(scaled, 0, 1))[..., :3], 1)
    return _jpeg((255 * rgb).astype(np.uint8))


def _gains(view: seams.View) -> bytes:
    """A chart of every scene's gains: a line from the 5th to the 95th percentile of its corners, a dot at the median."""
    entries = view.entries[:CHARTED]
    figure = Figure(figsize=(9, 1.2 + 0.22 * len(entries)), dpi=80, layout="constrained")
    axes = figure.subplots()
    for row, entry in enumerate(entries):
        corner_gains = view.version.corners(entry)
        if corner_gains is None:
            continue
        gain, _ = gains.decode(corner_gains[0])
        for k, band in enumerate(view.bands):
            values = gain[view.version.bands.index(band)]
            low, middle, high = np.percentile(values, (5, 50, 95))
            y = row + 0.15 * (k - (len(view.bands) - 1) / 2)
            axes.plot((low, high), (y, y), color=COLOURS[band], linewidth=1)
            axes.plot(middle, y, "o", color=COLOURS[band], markersize=3, label=None if row else band)
    axes.axvline(1, color="0.7", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(entries)), [e.scene.id for e in entries], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("gain")
    axes.legend(ncols=len(view.bands), fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpeg", pil_kwargs={"quality": 88})
    return buffer.getvalue()


def _days(view: seams.View, image: Image) -> NDArray[np.int64]:
    """(row, col) day of the scene that dominates, counted from the first."""
    days = np.array([e.scene.datetime.date().toordinal() for e in image.entries] + [0])
    return np.where(image.provenance >= 0, days[image.provenance] - days[:-1].min(), 0)


def _jpeg(rgb: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, rgb, format="jpeg", pil_kwargs={"quality": 82})
    return buffer.getvalue()


# --- page ------------------------------------------------------------------------------------------------


def _apart(version: Version) -> str:
    """Which periods hold dates that show different land."""
    if not version.apart:
        return ""
    rows = [[name, str(apart)] for name, apart in version.apart.items()]
    return "<h2>Periods whose dates are too far apart</h2>" + _table(
        ["period", "what changed, and a split"], rows
    )


def _change(change: Change | None) -> str:
    """What became different with this version."""
    if change is None:
        return ""
    rows = [
        [
            p.name,
            ", ".join(p.scenes_in) or None,
            ", ".join(p.scenes_out) or None,
            ", ".join(p.remade) or None,
            len(p.reweighed),
            f"{p.changed} of {sum(p.of.values())}",
            "; ".join(
                f"EPSG:{z} rows {b.row0} to {b.row1 - 1}, columns {b.col0} to {b.col1 - 1}"
                for z, windows in p.windows.items()
                for b in boxes(windows)
            ),
        ]
        for p in change.periods
    ]
    head = [
        "period",
        "scenes in",
        "scenes out",
        "computed again",
        "weights computed again",
        "windows changed",
        "which windows",
    ]
    return f"<h2>Since version {html.escape(change.before)}</h2>" + _table(head, rows)


def _section(figures: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    bands, states = figures["bands"], list(figures["same_day"])
    title = f"Period {html.escape(figures['period'])}, EPSG:{figures['epsg']}, at {figures['pixel']:g} m"
    same_day, between = figures["same_day"], figures["between_dates"]
    parts = [
        (title, "".join(_figure(*p) for p in pictures.items())),
        (
            "Steps at scene borders beyond the land's own (1e-4 of reflectance)",
            STEPS_NOTE + _steps_table(figures["error_steps"], bands),
        ),
        (
            "Steps at window borders divided by steps inside windows (1: no grid shows)",
            _table(["picture", *bands], [[k, *v] for k, v in figures["window_grid"].items()]),
        ),
        (
            "Tiles of one pass: difference in their overlap (%)",
            _agreement(same_day, states, bands, ("date", "tiles", "blocks"), "step"),
        ),
        (
            "Between days: median ratio − 1 (%)",
            _agreement(between, states, bands, ("dates", "blocks"), "median"),
        ),
        (
            "Between days: blocks that agree within 5 % (% of blocks)",
            _agreement(between, states, bands, ("dates", "blocks"), "within5"),
        ),
        ("Residual cloud (% of the pixels that have a clear day)", _clouds(figures["residual_cloud"])),
        ("Scenes in merge order", _scenes_table(figures["scenes"], bands)),
    ]
    if not figures["window_grid"]:
        del parts[2]
    return "\n".join(f"<h2>{head}</h2>\n{body}" for head, body in parts)


def _figure(name: str, jpeg: bytes) -> str:
    inline = base64.b64encode(jpeg).decode()
    return (
        f'<figure><img alt="{html.escape(name)}" src="data:image/jpeg;base64,{inline}">'
        f"<figcaption>{html.escape(name)}</figcaption></figure>"
    )


def _steps_table(rows: Sequence[Mapping[str, Any]], bands: Sequence[str]) -> str:
    kinds = ("", ", one day", ", elsewhere", " ÷ land's")
    head = [
        *("border", "each side", "method", "normalize"),
        *(f"{b}{kind}" for kind in kinds for b in bands),
        "places",
    ]
    figures = ("step", "single_day", "elsewhere", "ratio")
    body = [
        [
            *(r["border"], f"{r['metres'] / 1000:g} km", r["method"], r["normalize"]),
            *(v for name in figures for v in r[name]),
            r["count"],
        ]
        for r in rows
    ]
    return _table(head, body)


def _clouds(shares: Mapping[str, Mapping[str, float | None]]) -> str:
    names = ("cloud", "no_clear_date", "flagged")
    body = [[k, *(_percent(v[n], 3) for n in names)] for k, v in shares.items()]
    return _table(["picture", "cloud", "no clear day", "flagged"], body)


def _scenes_table(scenes: Sequence[Mapping[str, Any]], bands: Sequence[str]) -> str:
    head = [
        *("scene", "clear %", "haze weight"),
        *(f"% of {m}" for m in METHODS),
        *(f"residual {b}, 1e-4" for b in bands),
    ]
    body = [
        [
            *(s["id"], _percent(s["clear"], 1), s["haze_weight"]),
            *(_percent(s["share"][m], 1) for m in METHODS),
            *(_count(s["residual"].get(b)) for b in bands),
        ]
        for s in scenes
    ]
    return _table(head, body)


def _agreement(
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    states: Sequence[str],
    bands: Sequence[str],
    names: Sequence[str],
    figure: str,
) -> str:
    head = [*names, *(f"{b} {s}" for s in states for b in bands)]
    body = [
        [*(same[0][n] for n in names), *(_percent(r[figure][b], 1) for r in same for b in bands)]
        for same in zip(*(rows[s] for s in states), strict=True)
    ]
    return _table(head, body)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    cells = "".join(f"<th>{html.escape(h)}</th>" for h in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{'–' if v is None else html.escape(str(v))}</td>" for v in row) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{cells}</tr>{body}</table>"


def _percent(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{100 * value:.{digits}f}"


def _count(value: float | None) -> str | None:
    return None if value is None else f"{1e4 * value:.0f}"
