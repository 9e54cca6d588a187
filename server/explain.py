"""The account of a pixel as JSON, a page and plain text; also the body of WMTS GetFeatureInfo."""

from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import numpy as np
from jinja2 import Environment
from markupsafe import Markup

from terrazzo.bands import SCALE
from terrazzo.errors import OutsideCoverage
from terrazzo.expression import evaluate, parts
from terrazzo.grid import zone_name
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.explain import ExplainedScene, Explanation, explain, unshown
from terrazzo.mosaic.measure import choose
from terrazzo.mosaic.quality import FLAGS
from terrazzo.mosaic.request import UNMERGED
from terrazzo.mosaic.sigma import require_sigma
from terrazzo.request.boxes import place_of, swap_of
from terrazzo.server.request import Ask

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
UNSHOWN = ("scene", "order", "period", "datetime", "mask", "score", "weight", "verdict")
"""What is said of a scene where none shows."""
COLOURS = ("#b03030", "#2a7d3b", "#2b5fb3")
"""Lines of the chart, for at most as many bands."""
STEPS = (
    ("Product's number", "count", "%d"),
    ("With offset, as reflectance", "input_reflectance", "%.4f"),
    ("Air: xa", "xa", "%.4f"),
    ("Air: xb", "xb", "%.4f"),
    ("Air: xc", "xc", "%.4f"),
    ("Surface reflectance", "surface", "%.4f"),
    ("View to nadir (c-factor)", "factor", "%.4f"),
    ("Stored, corrected, 1e-4", "stored", "%d"),
    ("Gain", "gain", "%.4f"),
    ("Offset of the gain", "gain_offset", "%.5f"),
    ("Normalized, 1e-4", "normalized", "%d"),
    ("All scenes merged, 1e-4", "merged", "%d"),
    ("Served at the place, 1e-4", "served", "%d"),
    ("Back: corrected, 1e-4", "undone", "%d"),
    ("Back: product's number", "count_undone", "%d"),
)


class Account(NamedTuple):
    """Why a pixel is as it is, and why what it is compared with was so; None where it is not compared.

    `expression` is what is asked of the bands, None for the bands themselves.
    """

    own: Explanation
    baseline: Explanation | None
    expression: str | None = None

    @property
    def changes(self) -> dict[str, float | None]:
        """Reflectance since the baseline by band; empty where there is none."""
        if self.baseline is None:
            return {}
        pairs = zip(self.own.values, self.baseline.values, strict=True)
        apart = (None if a is None or b is None else round((a - b) * SCALE, 4) for a, b in pairs)
        return dict(zip(self.own.bands, apart, strict=True))


def account_of(engine: Engine, ask: Ask, lon: float, lat: float, *, sigma: bool = False) -> Account:
    """The account of a place.

    Args:
        sigma: whether to compute the values' standard errors.

    Raises:
        InvalidRequest: it is no place on Earth.
        OutsideCoverage: no scene shows there.
    """
    place_of(lon, lat, "explain")
    if sigma:
        require_sigma(ask.measure, engine.version)
    chosen = choose(engine, ask.measure)
    try:
        before = None if chosen.baseline is None else explain(engine, chosen.baseline, lon, lat)
        return Account(
            explain(engine, chosen.selection, lon, lat, sigma=sigma), before, ask.measure.expression
        )
    except OutsideCoverage as error:
        raise OutsideCoverage(f"{error}{swap_of(lon, lat, engine.version.bounds)}") from None


class Nothing(NamedTuple):
    """Why nothing shows at a place: the error's words, the scenes there with their verdicts, and how many lie elsewhere."""

    detail: str
    candidates: tuple[ExplainedScene, ...]
    elsewhere: int

    def document(self) -> dict[str, Any]:
        """It for machines, beside what every error says."""
        scenes = [{n: getattr(c, n) for n in UNSHOWN} for c in self.candidates]
        return {"detail": self.detail, "candidates": scenes, "scenes_elsewhere": self.elsewhere}

    def text(self) -> str:
        """It in lines."""
        scenes = [f"{c.datetime[:10]}  {c.scene}  {c.verdict}" for c in self.candidates]
        return (
            "\n".join([f"detail: {self.detail}", "", *scenes, f"scenes elsewhere: {self.elsewhere}"]) + "\n"
        )


def nothing_of(engine: Engine, ask: Ask, lon: float, lat: float, detail: str) -> Nothing:
    """Why nothing shows at a place, or nothing that it could be compared with."""
    chosen = choose(engine, ask.measure)
    sides = [unshown(engine, s, lon, lat) for s in (chosen.selection, chosen.baseline) if s is not None]
    return Nothing(detail, tuple(c for scenes, _ in sides for c in scenes), sum(n for _, n in sides))


def as_document(engine: Engine, account: Account, lon: float, lat: float) -> dict[str, Any]:
    """The account for machines; values in reflectance, 1e-4 counts inside the steps."""
    document = _document(engine, account.own, lon, lat)
    if account.expression and account.own.request.stage != "mask":
        _add_expression(document, account)
    if account.baseline is not None:
        document["change"] = list(account.changes.values())
        document["baseline"] = _document(engine, account.baseline, lon, lat)
    return document


def _document(engine: Engine, side: Explanation, lon: float, lat: float) -> dict[str, Any]:
    factor = _factor(side)
    scene = side.chosen.scene
    document = asdict(side)
    if side.sigma is not None:
        sure = side.sigma
        document |= {
            "sigma_shared": sure.shared, "sigma_95": sure.within_95, "sigma_prior": sure.prior
        }
    for name in ("chosen", "request", "bands", "values", "sigma"):
        del document[name]
    for candidate in document["candidates"]:
        candidate["values"] = candidate["values"] and [_value(v, factor) for v in candidate["values"]]
    for neighbour in document["neighbours"]:
        neighbour["values"] = [_value(v, factor) for v in neighbour["values"]]
    return {
        "coordinates": [lon, lat],
        "band_names": list(side.bands),
        "values": [_value(v, factor) for v in side.values],
        **({} if side.sigma is None else {"sigma": side.sigma.sigma}),
        "scene": scene.id,
        "datetime": scene.datetime.isoformat(),
        "scenes_usable": side.count,
        "quality_names": quality_names(side.quality),
        "request": side.request.text(),
        "mosaic": engine.version.mosaic_id,
        "version": engine.version.name,
        "attribution": engine.version.attribution,
        **_period(engine, side),
        **document,
    }


def _add_expression(document: dict[str, Any], account: Account) -> None:
    """Adds what the expression is of the shown values and of every scene's, None where it has none."""
    expression, own = str(account.expression), account.own
    seen = [(c.values, d) for c, d in zip(own.candidates, document["candidates"], strict=True) if c.values]
    sides = [(own.values, document), *seen]
    rows = [[np.nan if v is None else v * SCALE for v in values] for values, _ in sides]
    results = evaluate(expression, own.bands, np.array(rows, np.float32).T[:, :, None])[:, :, 0]
    document["expression_names"] = list(parts(expression))
    for (_, place), numbers in zip(sides, results.T, strict=True):
        place["expression_values"] = [round(float(v), 4) if np.isfinite(v) else None for v in numbers]


def _period(engine: Engine, side: Explanation) -> dict[str, str]:
    """What is said of the chosen scene's period when its dates are too far apart; empty otherwise."""
    name = side.chosen.period
    apart = engine.version.apart.get(name)
    return {} if apart is None else {"period": f"{name}: {apart}"}


def quality_names(bits: int) -> list[str]:
    """The quality bits in words."""
    return [FLAGS[bit].text for bit in sorted(FLAGS) if bits & bit]


def rows(account: Account) -> dict[str, Any]:
    """The account in short: values by band, then where they come from, and how they have changed."""
    lines = _rows(account.own)
    if account.baseline is not None:
        lines |= {f"change of {band}": value for band, value in account.changes.items()}
        lines |= {f"baseline: {name}": value for name, value in _rows(account.baseline).items()}
    return lines


def _rows(side: Explanation) -> dict[str, Any]:
    factor, scene = _factor(side), side.chosen.scene
    sure = side.sigma and zip(side.bands, side.sigma.sigma, strict=True)
    return {
        **{b: _value(v, factor) for b, v in zip(side.bands, side.values, strict=True)},
        **{f"sigma of {b}": s for b, s in sure or ()},
        **({} if side.sigma is None else {"prior of sigma": side.sigma.prior}),
        "scene": scene.id,
        "datetime": scene.datetime.isoformat(),
        "scenes_with_data" if side.request.stage in UNMERGED else "scenes_usable": side.count,
        "quality": ", ".join(quality_names(side.quality)) or "clear",
        "request": side.request.text(),
    }


def as_text(engine: Engine, account: Account) -> str:
    """The account in lines: values, scenes, steps."""
    lines = [f"{k}: {v}" for k, v in (rows(account) | _period(engine, account.own)).items()]
    lines += [f"version: {engine.version.name}", f"attribution: {engine.version.attribution}"]
    lines += _lines(account.own)
    if account.baseline is not None:
        lines += ["", "baseline", *_lines(account.baseline)]
    return "\n".join(lines) + "\n"


def _lines(side: Explanation) -> list[str]:
    lines = ["", "scenes"]
    for c in side.candidates:
        share = 100 * sum(c.share) / len(c.share)
        lines.append(
            f"{c.order:3d}  {c.datetime[:10]}  orbit {c.relative_orbit:3d}  {c.mask or 'no data':14s}"
            f"  score {'–' if c.score is None else c.score:>3}  weight {c.weight:3d}  {share:5.1f} %  {c.verdict}"
        )
    if side.path:
        if side.count_interpolated:
            lines += ["", f"the product's number is interpolated: {side.count_interpolated}"]
        lines += ["", "steps".ljust(28) + "".join(f"{s.band:>10s}" for s in side.path)]
        lines += [
            label.ljust(28) + "".join(f"{form % getattr(s, name):>10s}" for s in side.path)
            for label, name, form in STEPS
        ]
    return lines


@lru_cache(maxsize=1)
def _template() -> Any:
    environment = Environment(autoescape=True, trim_blocks=True)
    return environment.from_string(files("terrazzo.server.pages").joinpath("explain.xhtml.j2").read_text())


def as_page(engine: Engine, account: Account | Nothing, lon: float, lat: float) -> str:
    """The account as a page without scripts, well-formed XML; or why nothing shows."""
    nothing, shown = (account, None) if isinstance(account, Nothing) else (None, account)
    sides = [] if shown is None else [s for s in (shown.own, shown.baseline) if s is not None]
    text: str = _template().render(
        place=(round(lon, 6), round(lat, 6)),
        mosaic=engine.version.config.title or engine.version.mosaic_id,
        version=engine.version.name,
        attribution=engine.version.attribution,
        summary=rows(shown) | _period(engine, shown.own)
        if shown
        else {"No data": nothing and nothing.detail},
        nothing=nothing,
        sides=sides,
        steps=STEPS,
        chart=lambda side: Markup(chart(side.candidates, side.bands, _factor(side))),
        value=lambda v, side: "–" if v is None else _value(v, _factor(side)),
        shown=lambda v: "–" if v is None else f"{v:.1f}°",
        pixel=f"{engine.version.store.config.pixel:g}",
        zone=lambda side: zone_name(side.epsg),
    )
    return text


def chart(candidates: tuple[ExplainedScene, ...], bands: tuple[str, ...], factor: float) -> str:
    """An SVG of what each scene has at the pixel, by date: filled where usable, ringed where chosen."""
    seen = sorted((c for c in candidates if c.values and None not in c.values), key=lambda c: c.datetime)
    if not seen or factor == 1.0:
        return ""
    width, height, left, bottom = 640, 220, 52, 30
    days = [datetime.fromisoformat(c.datetime).timestamp() for c in seen]
    values = [[float(v) * factor for v in (c.values or ())[: len(COLOURS)]] for c in seen]  # type: ignore[arg-type]
    low, high = min(0.0, *map(min, values)), max(0.05, *map(max, values)) * 1.05
    span = max(days[-1] - days[0], 86_400.0)

    def x(day: float) -> float:
        return round(left + 12 + (width - left - 30) * (day - days[0]) / span, 1)

    def y(value: float) -> float:
        return round(height - bottom - (height - bottom - 14) * (value - low) / (high - low), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="100%" role="img"'
        ' aria-label="Reflectance by date of every scene at this pixel" font-size="11" font-family="sans-serif">'
    ]
    for i in range(5):
        tick = low + (high - low) * i / 4
        parts.append(
            f'<line x1="{left}" x2="{width - 6}" y1="{y(tick)}" y2="{y(tick)}" stroke="#d8ded6"/>'
            f'<text x="{left - 6}" y="{y(tick) + 4}" text-anchor="end">{tick:.3f}</text>'
        )
    for day, label in {days[0]: seen[0].datetime[:10], days[-1]: seen[-1].datetime[:10]}.items():
        anchor = "start" if day == days[0] else "end"
        parts.append(f'<text x="{x(day)}" y="{height - 10}" text-anchor="{anchor}">{label}</text>')
    for b, (band, colour) in enumerate(zip(bands, COLOURS, strict=False)):
        parts.append(f'<text x="{left + 8 + 50 * b}" y="11" fill="{colour}">● {escape(band)}</text>')
        used = [(d, v[b]) for c, d, v in zip(seen, days, values, strict=True) if c.weight > 1]
        if len(used) > 1:
            line = " ".join(f"{x(d)},{y(v)}" for d, v in used)
            parts.append(
                f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1" stroke-opacity="0.5"/>'
            )
        for c, day, v in zip(seen, days, values, strict=True):
            fill = colour if c.weight > 1 else "none"
            title = f"{c.datetime[:10]} {band} {v[b]:.4f}, {c.mask}, weight {c.weight}: {c.verdict}"
            parts.append(
                f'<circle cx="{x(day)}" cy="{y(v[b])}" r="{5 if c.chosen else 3}" fill="{fill}" stroke="{"#000" if c.chosen else colour}">'
                f"<title>{escape(title)}</title></circle>"
            )
    return "".join(parts) + "</svg>"


def _factor(side: Explanation) -> float:
    return 1.0 if side.request.stage in ("raw", "mask") else SCALE


def _value(value: int | None, factor: float) -> float | int | None:
    return None if value is None else value if factor == 1.0 else round(value * factor, 4)
