"""The parameters of requests: one table, from which every interface takes names, kinds, choices, limits and meaning.

Tiles, points, boxes, WMTS, TileJSON, `gdal.xml`, the bodies of exports and statistics, the command line, OpenAPI and
`/docs` read it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from terrazzo.bands import STYLES
from terrazzo.config import Fill, Method, Origin, Resampling, Snow, Stage
from terrazzo.formats import offered

Kind = Literal[
    "text",
    "choice",
    "names",
    "number",
    "whole",
    "switch",
    "expression",
    "pairs",
    "numbers",
    "box",
    "crs",
    "area",
]
JOINED: Mapping[str, str] = {"names": ",", "numbers": ",", "expression": ";", "pairs": ";"}
"""Kinds that may be given several times, and what joins the values."""
LONGEST = 2000
"""Characters of a value; expressions have a limit of their own."""


@dataclass(frozen=True)
class Parameter:
    """A parameter.

    Attributes:
        kind: how its value is read; `terrazzo.request.kinds` has a function for each.
        meaning: one line for users, without the choices and the default.
        choices: all values that there are; empty where they depend on the mosaic.
        default: what holds when it is not given, in words; empty where the meaning says it.
        low, high: ends of numbers; of names how many there may be at most.
        aliases: older names and those of other programs that mean the same.
    """

    name: str
    kind: Kind
    meaning: str
    choices: tuple[str, ...] = ()
    default: str = ""
    low: float | None = None
    high: float | None = None
    aliases: tuple[str, ...] = ()

    @property
    def help(self) -> str:
        """Meaning, choices and default in one line."""
        choices = ", ".join(self.choices)
        text = f"{self.meaning}: {choices}" if choices and self.meaning else self.meaning or choices
        return f"{text} [default: {self.default}]" if self.default else text


Table = Mapping[str, Parameter]
MOSAIC = "the mosaic's"


def table(*parts: Iterable[Parameter]) -> dict[str, Parameter]:
    """Parameters by name, in their order."""
    return {p.name: p for part in parts for p in part}


def asked_names(parameters: Table) -> tuple[str, ...]:
    """The names and aliases of parameters."""
    return tuple(name for p in parameters.values() for name in (p.name, *p.aliases))


def schema_of(parameters: Table) -> dict[str, dict[str, object]]:
    """JSON schemas of the parameters, as OpenAPI takes them for a body."""
    kinds: dict[str, dict[str, object]] = {
        "names": {"type": ["array", "string"], "items": {"type": "string"}},
        "numbers": {"type": ["array", "string"], "items": {"type": "number"}},
        "pairs": {"type": ["array", "string"]},
        "expression": {"type": ["string", "array"], "items": {"type": "string"}},
        "box": {"type": ["array", "string"], "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
        "crs": {"type": ["string", "integer"]},
        "switch": {"type": ["boolean", "string"]},
        "number": {"type": "number"},
        "whole": {"type": "integer"},
        "area": {"type": "object"},
    }
    return {
        p.name: {"description": p.help, **kinds.get(p.kind, {"type": "string"}), **limits_of(p)}
        for p in parameters.values()
    }


def limits_of(parameter: Parameter) -> dict[str, object]:
    """Choices and ends of a parameter in the words of JSON schemas."""
    limits: dict[str, object] = {}
    if parameter.kind == "choice":
        limits["enum"] = list(parameter.choices)
    if parameter.kind in ("number", "whole"):
        limits |= {
            k: v for k, v in (("minimum", parameter.low), ("maximum", parameter.high)) if v is not None
        }
    return limits


TIME = "a day, month, year, interval A/B (.. for an open end), or the name of a period"
BANDS = Parameter("bands", "names", "bands, comma-separated", high=100)
EXPRESSION = Parameter(
    "expression",
    "expression",
    "a formula over bands instead of bands, such as (B08-B04)/(B08+B04); several, separated by ;",
)
DATETIME = Parameter("datetime", "text", TIME, default="the newest period")
SCENES: tuple[Parameter, ...] = (
    Parameter(
        "baseline", "text", "another time, as datetime; its values are subtracted from those of datetime"
    ),
    Parameter(
        "max_cloud",
        "number",
        "per cent of a scene's valid pixels that may be cloud or shadow",
        (),
        MOSAIC,
        0,
        100,
    ),
    Parameter(
        "min_score",
        "number",
        "clear score, 0 to 100, that a scene's pixel needs to show: per cent likely that it is clear",
        default="0",
        low=0,
        high=100,
    ),
    Parameter("orbit", "whole", "a relative orbit, 1 to 143", low=1, high=143),
    Parameter("ids", "names", "names of scenes, comma-separated; see the mosaic's /scenes", high=50),
    Parameter("method", "choice", "how scenes are merged", get_args(Method), MOSAIC),
    Parameter(
        "target",
        "text",
        "the day that method=kriging shows, YYYY-MM-DD",
        default="the middle of the period or of the asked interval",
    ),
    Parameter(
        "normalize",
        "switch",
        "whether gains and offsets bring the scenes to one level: on or off",
        (),
        MOSAIC,
    ),
    Parameter("stage", "choice", "the step of the algorithm to show", get_args(Stage), "as normalize says"),
    Parameter(
        "fill",
        "choice",
        "what shows where no scene of the period is clear; adjacent is the nearest other period, best the least bad scene, predict predicts one day's from the other dates",
        get_args(Fill),
        MOSAIC,
    ),
    Parameter(
        "snow",
        "choice",
        "what becomes of snow; avoid shows it only where no scene is free of it, drop counts it as no data",
        get_args(Snow),
        MOSAIC,
    ),
)
RESAMPLING = Parameter(
    "resampling", "choice", "how values between pixels are computed", get_args(Resampling), MOSAIC
)
VERSION = Parameter(
    "version", "text", "a version of the mosaic, 12 hexadecimal digits", default="the current one"
)
RESCALE = Parameter(
    "rescale", "pairs", "min,max in reflectance, shown as black and white; several pairs separated by ;"
)

MEASURED = table((BANDS, EXPRESSION, DATETIME), SCENES, (RESAMPLING, VERSION))
"""What is measured, the same in every interface."""
EXTRAS_ALONE = ("weight", "emad", "smad", "bcmad")
"""Origins that are no styles: the weight is shown by none, and distances go with one method, where a layer of a WMTS names none."""
SHOWN_STYLES = (*STYLES, *(name for name in get_args(Origin) if name not in EXTRAS_ALONE))
PICTURE = table(
    (Parameter("style", "text", f"named style: {', '.join(SHOWN_STYLES)}"),),
    MEASURED.values(),
    (
        RESCALE,
        Parameter("colormap_name", "text", "a colormap's name, see /colorMaps"),
        Parameter(
            "quality",
            "whole",
            "1 to 100, of jpg and webp; 100 makes webp lossless, as it is anyway for classes and layers",
            (),
            "85",
            1,
            100,
        ),
    ),
)
"""What tiles, points and boxes take, and the documents that lead to them."""
BOX_CRS = Parameter(
    "bbox_crs", "crs", "coordinate system of the box", default="EPSG:4326", aliases=("coord_crs",)
)
BOXED = table(
    (
        BOX_CRS,
        Parameter(
            "crs", "crs", "coordinate system of the answer", (), "that of the box", aliases=("dst_crs",)
        ),
    )
)
"""What boxes take beside."""
MAPPED = table(
    (
        Parameter("bbox", "box", "W S E N in degrees", default="all of the mosaic"),
        Parameter("width", "whole", "pixels", default="1024 on the longer side", low=1, high=4096),
        Parameter("height", "whole", "pixels", default="as width has it", low=1, high=4096),
        Parameter("f", "text", "png, jpg, webp or tif", default="what Accept names"),
    )
)
"""What maps of OGC API take beside."""

SIZED = table(
    BOXED.values(),
    (
        Parameter("width", "whole", "pixels across", (), "full resolution, or as height says", 1, 4096),
        Parameter("height", "whole", "pixels down", (), "full resolution, or as width says", 1, 4096),
        Parameter(
            "max_size",
            "whole",
            "pixels of the longer side at most, without width and height; no side may have more than 4096",
            (),
            "",
            1,
            65536,
        ),
    ),
)
"""The same where the path names no size."""

DTYPES, COMPRESSIONS = ("int16", "uint16", "uint8", "float32"), ("deflate", "zstd", "lzw", "none")
DEFAULT_EXTRAS: tuple[str, ...] = ("quality", "date")
LEAST_SPLIT, MOST_SPLIT, MOST_ZOOM = 512, 65536, 20
NUMBERS = (
    Parameter(
        "crs", "crs", "coordinate system of the files", (), "the mosaic's UTM zone", aliases=("dst_crs",)
    ),
    Parameter("resolution", "number", "pixel size in units of crs", (), "the mosaic's own pixel"),
    Parameter("dtype", "choice", "type of the stored numbers", DTYPES, "int16; of expressions float32"),
    Parameter(
        "scale", "number", "reflectance = stored x scale + offset; uint8 needs one", (), "0.0001; float32: 1"
    ),
    Parameter("offset", "number", "see scale", (), "0; uint16: -0.1"),
    Parameter(
        "nodata", "number", "number that stands for no data", (), "-32768; uint8, uint16: 0; float32: NaN"
    ),
    Parameter("compression", "choice", "compression of the files", COMPRESSIONS, "deflate"),
    Parameter(
        "split",
        "whole",
        f"pixels a side of the squares that the area is divided into, {LEAST_SPLIT} to {MOST_SPLIT}",
        (),
        "one file",
        LEAST_SPLIT,
        MOST_SPLIT,
    ),
    Parameter(
        "extras",
        "names",
        "layers to write beside the bands",
        (*get_args(Origin), "none"),
        ",".join(DEFAULT_EXTRAS),
        high=100,
    ),
)
"""Of exports that hold numbers, and of no picture."""
TABLETS = (
    Parameter(
        "style",
        "text",
        f"style of a picture: {', '.join(s.name for s in STYLES.values() if not s.colormap)}",
        default="the first that the mosaic has the bands for",
    ),
    RESCALE,
    Parameter("zoom", "whole", "deepest zoom of a picture", (), "the mosaic's own pixel", 0, MOST_ZOOM),
    Parameter("tiles", "choice", "format of the tiles in a picture", ("png", "webp"), "png"),
)
"""Of exports that are pictures in web map tiles, and of no numbers."""
EXPORT = table(
    (
        Parameter("bbox", "box", "W S E N; W east of E crosses the antimeridian"),
        BOX_CRS,
        Parameter(
            "geometry",
            "area",
            "GeoJSON instead of bbox, in degrees or as its crs says: the pixels that it touches",
        ),
    ),
    MEASURED.values(),
    NUMBERS,
    (
        Parameter(
            "format",
            "choice",
            "tif and zarr hold numbers; the others a picture in web map tiles, for tablets without a network",
            (*offered("export"), "zarr"),
            "tif",
        ),
    ),
    TABLETS,
)
RULES = ("exact", "centre")
PERCENTILES = (5.0, 25.0, 75.0, 95.0)
SIGMA = Parameter(
    "sigma",
    "switch",
    "whether values come with their standard errors, in reflectance, of the bands of one time: on or off",
    (),
    "off",
)
SURE = table((SIGMA,))
"""What points and accounts of pixels take beside the parameters of tiles."""
AREAS = (
    Parameter(
        "percentiles",
        "numbers",
        "percentiles besides the median, comma-separated, 0 to 100",
        (),
        ",".join(f"{p:g}" for p in PERCENTILES),
        0,
        100,
        ("p",),
    ),
    Parameter(
        "rule",
        "choice",
        "which pixels count; exact weighs pixels by the share that the area covers, centre takes those whose centre lies inside",
        RULES,
        "exact",
    ),
    SIGMA,
)
QUESTION = table(
    (
        Parameter(
            "period",
            "names",
            "names of periods, days, months, years or intervals, comma-separated",
            default="every period",
            high=1000,
            aliases=("datetime",),
        ),
        BANDS,
        EXPRESSION,
    ),
    SCENES,
    (VERSION,),
    AREAS,
)
"""What is asked of areas. Statistics read pixels as they are: `resampling` has no place here."""
MOST_PERCENTILES = 20
DESCRIBED = table((replace(AREAS[0], default="2,98"), *AREAS[1:]))
"""What statistics of features take beside the parameters of tiles."""
TABULATED = table(
    QUESTION.values(),
    (
        Parameter("id", "text", "column that names the areas", (), "the feature's number"),
        Parameter("layer", "text", "layer of a GeoPackage", (), "the first"),
        Parameter("format", "choice", "format of the table", tuple(offered("table")), "parquet"),
    ),
)
