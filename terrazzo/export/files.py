"""From finished windows to Cloud-Optimized GeoTIFFs, and what lies beside them: VRT and STAC Item."""

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

import rasterio
from rasterio.io import MemoryFile
from rasterio.shutil import copy as copy_raster
from rasterio.windows import Window as RasterWindow

from terrazzo import __version__
from terrazzo.bands import NODATA
from terrazzo.cog import escaped
from terrazzo.crs import DEGREES, crs_of, definition
from terrazzo.export.layout import Joining
from terrazzo.export.order import Order
from terrazzo.export.packing import BLOCK, Packing, level_count
from terrazzo.export.pieces import BLOCKS, Spread, layer_file
from terrazzo.formats import media_of_file
from terrazzo.mosaic.measure import Chosen
from terrazzo.mosaic.origin import ORIGINS
from terrazzo.mosaic.request import CLASSES_BAND
from terrazzo.mosaic.warp import Target, transformer
from terrazzo.version import Entry, Version

PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
RASTER = "https://stac-extensions.github.io/raster/v2.0.0/schema.json"
KINDS = {"int16": "Int16", "uint16": "UInt16", "uint8": "Byte", "float32": "Float32"}


@dataclass(frozen=True)
class Band:
    """A band of a file: what it is called and how its numbers are meant."""

    name: str
    scale: float = 1.0
    offset: float = 0.0
    unit: str = ""

    @property
    def scaled(self) -> bool:
        """Whether a stored number means another one."""
        return (self.scale, self.offset) != (1.0, 0.0)


@dataclass(frozen=True)
class Raster:
    """A kind of file of an export: its bands, or one of the extras.

    Attributes:
        layer: name of the extra; None for the bands.
        smooth: whether overviews are means.
    """

    layer: str | None
    bands: tuple[Band, ...]
    dtype: str
    nodata: float
    smooth: bool

    def file(self, stem: str, ending: str = ".tif") -> str:
        """The name of its file, from that of the bands' file without ending."""
        return stem + (f"_{self.layer}" if self.layer else "") + ending


def rasters(order: Order, chosen: Chosen) -> list[Raster]:
    """The kinds of files that an order asks for, the bands first."""
    request, encoding = chosen.selection.request, order.encoding
    if order.picture is not None:
        channels = ("red", "green", "blue", "alpha")
        return [Raster(None, tuple(Band(c) for c in channels), "uint8", math.nan, True)]
    if request.stage == "mask":
        bands: tuple[Band, ...] = (Band(CLASSES_BAND),)
    elif request.stage == "raw":
        bands = tuple(Band(b) for b in request.bands)
    else:
        bands = tuple(Band(n, encoding.scale, encoding.offset) for n in order.measure.names)
    first = Raster(None, bands, encoding.dtype, encoding.nodata, request.stage != "mask")
    return [
        first,
        *(_layer(n, request.bands) for n in order.extras),
    ]


def _layer(name: str, bands: tuple[str, ...]) -> Raster:
    origin = ORIGINS[name]
    if origin.by_band is None:
        return Raster(name, (Band(name, unit=origin.unit),), "int16", NODATA, False)
    return Raster(name, tuple(Band(f"{name}_{b}") for b in bands), "float32", math.nan, False)


def tags_of(
    version: Version, chosen: Chosen, shown: Sequence[Entry], lock: str, interpolated: Sequence[str] = ()
) -> dict[str, str]:
    """What a file says of itself: whose data it holds, of which version, how it was asked for, and its lock's hash.

    Args:
        interpolated: of `stage=raw`, why its numbers are not the product's own, a line each.
    """
    tags = {
        "TERRAZZO_MOSAIC": version.mosaic_id,
        "TERRAZZO_VERSION": version.name,
        "TERRAZZO_REQUEST": chosen.text(),
        "TERRAZZO_LOCK": f"sha256:{hashlib.sha256(lock.encode()).hexdigest()}",
        "ATTRIBUTION": version.attribution_of(shown),
        "TIFFTAG_COPYRIGHT": version.attribution_of(shown),
        "TIFFTAG_SOFTWARE": f"terrazzo {__version__}",
    }
    if version.config.licence:
        tags["LICENSE"] = version.config.licence
    if interpolated:
        tags["TERRAZZO_INTERPOLATED"] = "; ".join(interpolated)
    return tags


def locked(version: Version, reaching: Sequence[Entry]) -> str:
    """The part of a version's lock that determines an export's pixels, as JSON: its rules, and the scenes that reach there."""
    ids = {e.scene.id for e in reaching}
    periods = [
        {**p, "scenes": kept}
        for p in version.lock["periods"]
        if (kept := [s for s in p["scenes"] if s["id"] in ids])
    ]
    return json.dumps({**version.lock, "periods": periods}, indent=1)


def write_cog(
    raster: Raster,
    target: Target,
    pieces: Mapping[RasterWindow, Path],
    path: Path,
    tags: Mapping[str, str],
    spreads: Sequence[Spread],
    compression: str,
    side: int,
) -> None:
    """Joins windows into a COG, which appears whole or not at all.

    Args:
        pieces: the windows that hold data, with their files' names without ending.
        spreads: one a band, for the statistics inside; empty for none.
        side: of whole windows.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    whole, levels = path.with_name(f".{path.name}.part"), level_count(target.shape)
    packing = Packing(compression, raster.nodata, raster.smooth)
    files = {(w.row_off, w.col_off): layer_file(base, raster.layer, BLOCKS) for w, base in pieces.items()}
    tags = {**tags, "LAYER": ORIGINS[raster.layer].title} if raster.layer else tags
    overviews = []
    for factor in (2**level for level in range(1, levels)):
        overviews.append(str(whole.with_name(f"{whole.name}.{factor}.vrt").absolute()))
        Path(overviews[-1]).write_text(_overview(raster, target, factor))
    try:
        # Directories, names and tags are GDAL's; there are no blocks yet. GDAL names no error of the last writes of a file.
        with MemoryFile(ext=".tif") as head:
            copy_raster(
                vrt(raster, target, (), tags, spreads, overviews=overviews),
                head.name,
                driver="COG",
                COMPRESS=compression.upper(),
                BLOCKSIZE=str(BLOCK),
                OVERVIEWS="FORCE_USE_EXISTING" if overviews else "NONE",
                SPARSE_OK="YES",
                BIGTIFF="IF_SAFER",
                **({} if compression == "none" else {"PREDICTOR": "YES"}),
            )
            whole.write_bytes(head.getbuffer())
        empty = packing.empty(len(raster.bands), raster.dtype)
        with whole.open("r+b") as file, whole.with_name(f"{whole.name}.joined").open("w+b") as spare:
            Joining(target.shape, files, side, levels, packing, empty, spare).into(file)
            file.flush()
            os.fsync(file.fileno())
        with rasterio.open(whole) as written:
            if written.crs is None:
                raise OSError(f"{path} would have no coordinate system: GDAL cannot write {target.crs[:100]}")
        os.chmod(whole, 0o644)
        os.replace(whole, path)
    except rasterio.errors.RasterioError as error:
        raise OSError(f"cannot write {path}: {error}; is the disk full?") from error
    finally:
        for rest in path.parent.glob(f".{escape(path.name)}.part*"):
            rest.unlink(missing_ok=True)


def vrt(
    raster: Raster,
    target: Target,
    sources: Sequence[tuple[RasterWindow, str]],
    tags: Mapping[str, str],
    spreads: Sequence[Spread] = (),
    *,
    relative: bool = False,
    overviews: Sequence[str] = (),
) -> str:
    """A VRT of a target over files that hold windows of it; `overviews` are the files of its overviews."""
    b, (dx, dy) = target.bounds, target.resolution
    place = ", ".join(repr(v) for v in (b.left, dx, 0.0, b.top, 0.0, -dy))
    bands = "".join(
        _vrt_band(i, raster, sources, spreads[i - 1] if spreads else None, relative, overviews)
        for i in range(1, len(raster.bands) + 1)
    )
    return (
        f'<VRTDataset rasterXSize="{target.width}" rasterYSize="{target.height}">'
        f"<SRS>{escaped(definition(target.crs))}</SRS><GeoTransform>{place}</GeoTransform>"
        f"{_metadata({**tags, 'AREA_OR_POINT': 'Area'})}{bands}</VRTDataset>"
    )


def _vrt_band(
    number: int,
    raster: Raster,
    sources: Sequence[tuple[RasterWindow, str]],
    spread: Spread | None,
    relative: bool,
    overviews: Sequence[str],
) -> str:
    band = raster.bands[number - 1]
    is_channel = raster.dtype == "uint8" and math.isnan(raster.nodata)
    return (
        f'<VRTRasterBand dataType="{KINDS[raster.dtype]}" band="{number}">'
        f"{_metadata(_statistics(spread))}<Description>{escaped(band.name)}</Description>"
        + ("" if is_channel else f"<NoDataValue>{raster.nodata:.17g}</NoDataValue>")
        + (f"<ColorInterp>{band.name.title()}</ColorInterp>" if is_channel else "")
        + (f"<UnitType>{escaped(band.unit)}</UnitType>" if band.unit else "")
        + (f"<Offset>{band.offset!r}</Offset><Scale>{band.scale!r}</Scale>" if band.scaled else "")
        + "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="{int(relative)}">{escaped(name)}</SourceFilename>'
            f'<SourceBand>{number}</SourceBand><SrcRect xOff="0" yOff="0" xSize="{w.width}" ySize="{w.height}"/>'
            f'<DstRect xOff="{w.col_off}" yOff="{w.row_off}" xSize="{w.width}" ySize="{w.height}"/></SimpleSource>'
            for w, name in sources
        )
        + "".join(
            f"<Overview><SourceFilename>{escaped(name)}</SourceFilename><SourceBand>{number}</SourceBand></Overview>"
            for name in overviews
        )
        + "</VRTRasterBand>"
    )


def _overview(raster: Raster, target: Target, factor: int) -> str:
    """A VRT of an overview's size, without pixels."""
    bands = "".join(
        f'<VRTRasterBand dataType="{KINDS[raster.dtype]}" band="{number}"><NoDataValue>{raster.nodata:.17g}</NoDataValue>'
        "</VRTRasterBand>"
        for number in range(1, len(raster.bands) + 1)
    )
    return f'<VRTDataset rasterXSize="{-(-target.width // factor)}" rasterYSize="{-(-target.height // factor)}">{bands}</VRTDataset>'


def _metadata(entries: Mapping[str, str]) -> str:
    if not entries:
        return ""
    items = "".join(f'<MDI key="{k}">{escaped(v)}</MDI>' for k, v in entries.items())
    return f"<Metadata>{items}</Metadata>"


def _statistics(spread: Spread | None) -> dict[str, str]:
    if spread is None or not spread.pixels:
        return {}
    mean = spread.total / spread.pixels
    deviation = math.sqrt(max(0.0, spread.squares / spread.pixels - mean**2))
    return {
        "STATISTICS_MINIMUM": f"{spread.least:.10g}",
        "STATISTICS_MAXIMUM": f"{spread.most:.10g}",
        "STATISTICS_MEAN": f"{mean:.10g}",
        "STATISTICS_STDDEV": f"{deviation:.10g}",
    }


def item_of(
    version: Version,
    chosen: Chosen,
    target: Target,
    shown: Sequence[Entry],
    files: Mapping[str, tuple[Raster, Target]],
    lock: str,
    stem: str,
) -> dict[str, Any]:
    """A STAC Item of an export; its assets lie beside it.

    Args:
        files: names of the files, with what they are and their pixels.
        lock: name of the lock's file.
    """
    b = target.bounds
    degrees = transformer(target.crs, DEGREES).transform_bounds(*b, densify_pts=21)
    west, south, east, north = (round(v, 7) for v in degrees)
    times = sorted(e.scene.datetime for e in shown)
    code = crs_of(target.crs).to_authority(min_confidence=20)
    assets = {Path(name).stem: _asset(name, *about, target) for name, about in files.items()}
    scaled = any("raster:scale" in band for asset in assets.values() for band in asset["bands"])
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [PROJECTION, *([RASTER] if scaled else [])],
        "id": stem,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, south, east, north],
        "properties": {
            "datetime": None,
            "start_datetime": _utc(times[0]),
            "end_datetime": _utc(times[-1]),
            "proj:code": ":".join(code) if code else None,
            **_placed(target),
            "terrazzo:mosaic": version.mosaic_id,
            "terrazzo:version": version.name,
            "terrazzo:request": chosen.text(),
            "terrazzo:scenes": [e.scene.id for e in shown],
            "attribution": version.attribution_of(shown),
            **({"license": version.config.licence} if version.config.licence else {}),
        },
        "links": [],
        "assets": assets
        | {
            Path(lock).stem: {
                "href": f"./{lock}",
                "type": "application/json",
                "title": "Lock",
                "roles": ["metadata"],
            }
        },
    }


def _placed(target: Target) -> dict[str, Any]:
    """Size and place of pixels, as the projection extension has them."""
    (dx, dy), b = target.resolution, target.bounds
    return {"proj:shape": list(target.shape), "proj:transform": [dx, 0.0, b.left, 0.0, -dy, b.top]}


def _asset(name: str, raster: Raster, target: Target, whole: Target) -> dict[str, Any]:
    bands = [
        {"name": band.name}
        | ({"unit": band.unit} if band.unit else {})
        | ({"raster:scale": band.scale, "raster:offset": band.offset} if band.scaled else {})
        | {"data_type": raster.dtype, "nodata": raster.nodata if math.isfinite(raster.nodata) else "nan"}
        for band in raster.bands
    ]
    return {
        "href": f"./{name}",
        "type": media_of_file(name),
        "title": ORIGINS[raster.layer].title if raster.layer else "Bands",
        "roles": ["metadata"] if raster.layer else ["data"],
        "bands": bands,
        **(_placed(target) if target != whole else {}),
    }


def _utc(when: Any) -> str:
    return str(when.isoformat()).replace("+00:00", "Z")
