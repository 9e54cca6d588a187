"""`terrazzo export`: a box or an area of a mosaic as files."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terrazzo.commands.output import processors, progress, require_output, require_zarr
from terrazzo.formats import offered
from terrazzo.request.options import WithBox, options
from terrazzo.request.parameters import EXPORT
from terrazzo.words import counted

if TYPE_CHECKING:
    from terrazzo.export.order import Order
    from terrazzo.export.run import Exported
    from terrazzo.mosaic.engine import Engine


@click.command(cls=WithBox)
@click.option("--store", "url", required=True, metavar="STORE", help="folder or address of the store")
@click.option("--mosaic", default="mosaic", show_default=True, help="name of the mosaic")
@options(EXPORT)
@click.option("--dry-run", is_flag=True, help="print pixels, bytes, scenes and seconds; write nothing")
@click.option("--overwrite", is_flag=True, help="replace files of that name")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="file to write, or folder NAME.zarr")
def export(
    url: str,
    mosaic: str,
    geometry: Path | None,
    dry_run: bool,
    overwrite: bool,
    output: Path | None,
    **asked: Any,
) -> None:
    """Writes a part of a mosaic as a Cloud-Optimized GeoTIFF of any size.

    Pixels are int16 reflectance with scale 0.0001 and nodata -32768, equal to those of tiles. Beside the file lie NAME_quality.tif (bits, named
    in its unit), NAME_date.tif (days since 1970-01-01) and NAME.lock.json (what determines the pixels). `-o NAME.zarr` writes a folder of
    Zarr 2. --split writes several files, a VRT over them and a STAC Item. If an export was stopped, the same command continues it.

    \b
    terrazzo export --store demo --bbox 15.9 45.7 16.1 45.9 -o zagreb.tif
    terrazzo export --store demo --geometry forest.geojson --dry-run
    terrazzo export --store demo --bbox 15.9 45.7 16.1 45.9 --expression '(B08-B04)/(B08+B04)' --datetime 2023-08-20 --baseline 2023-08-13 -o change.tif
    terrazzo export --store demo --bbox 15.9 45.7 16.1 45.9 --bands B08,B04 --crs EPSG:3035 --resolution 100 -o box.tif
    """
    # Reading rasters draws in GDAL and numba: `terrazzo --help` need not wait for them.
    from terrazzo.bulk.lock import alone_with
    from terrazzo.bulk.outlines import geojson_of_file
    from terrazzo.errors import OutsideCoverage
    from terrazzo.export.names import ending_of
    from terrazzo.export.order import parse_order
    from terrazzo.mosaic.blocks import Blocks
    from terrazzo.mosaic.engine import Engine
    from terrazzo.store import Store
    from terrazzo.version import open_version

    is_zarr = asked["format"] == "zarr" or (output is not None and output.suffix.lower() == ".zarr")
    require_output(output, dry_run, is_zarr)
    if is_zarr:
        require_zarr(output, asked, overwrite)
        asked["format"] = None
    engine = Engine(open_version(Store(url), mosaic, asked["version"] or None), Blocks())
    given = {**asked, "geometry": geojson_of_file(geometry) if geometry else None}
    if output is not None and output.suffix[1:].lower() in offered("export"):
        given["format"] = given["format"] or output.suffix[1:].lower()
    order = parse_order(given, engine.version)
    if output is not None and not is_zarr:
        ending_of(output, order)
    if dry_run or output is None:
        _print_cost(engine, order, processors())
        return
    click.echo(_size(engine, order), err=True)
    write, work_folder = _exporter(is_zarr)
    try:
        with alone_with(output) if is_zarr else nullcontext():
            steps = write(engine, order, output, workers=processors(), overwrite=overwrite)
            (exported,) = progress(steps, "export")
    except KeyboardInterrupt:
        click.echo(_kept(work_folder(engine, order, output), output), err=True)
        raise
    except OutsideCoverage as error:
        raise OutsideCoverage(f"{error}; {_how_to_fill(url, mosaic, order, output)}") from None
    _print_files(exported)


def _size(engine: "Engine", order: "Order") -> str:
    from terrazzo.bulk.windows import export_target

    target = export_target(engine.version, order.area, order.crs, order.resolution)
    return f"{target.width} × {target.height} px, {counted(len(order.measure.names), 'band')}, {target.crs}"


def _print_cost(engine: "Engine", order: "Order", workers: int) -> None:
    from terrazzo.export.estimate import estimate

    cost = estimate(engine, order, workers)
    click.echo(
        f"{cost.width} × {cost.height} px, {counted(cost.bands, 'band')}, {cost.crs}\n"
        f"{counted(cost.files, 'file')}, about {cost.bytes / 1e6:.1f} MB; {cost.room / 1e6:.1f} MB of free disk space are needed meanwhile\n"
        f"{counted(len(cost.scenes), 'scene')}\nabout {cost.seconds:.0f} s with {counted(workers, 'thread')}\n{cost.request}"
    )


def _exporter(is_zarr: bool) -> tuple[Callable[..., Iterator[Any]], Callable[..., Path]]:
    """What writes an order, and what names the folder where that keeps what is finished."""
    if is_zarr:
        from terrazzo.export.folders import export_zarr, rasters_folder

        return export_zarr, rasters_folder
    from terrazzo.export.run import export, work_folder

    return export, work_folder


def _kept(folder: Path, output: Path) -> str:
    """What an export leaves behind that was stopped."""
    if not folder.is_dir():
        return f"\nstopped; {output} was not begun"
    return (
        f"\nstopped; {output} is not complete. Finished windows are kept in {folder}: the same command goes on from"
        " them; remove that folder to give the export up"
    )


def _print_files(exported: "Exported") -> None:
    for problem in exported.problems:
        click.echo(f"left out {problem}", err=True)
    click.echo(f"{exported.path}: {100 * exported.share:.1f} % of the pixels hold data", err=True)
    if len(exported.files) > 1:
        click.echo(
            f"with {', '.join(p.name for p in exported.files[1:][:8])}{' …' if len(exported.files) > 9 else ''}",
            err=True,
        )


def _how_to_fill(url: str, mosaic: str, order: "Order", output: Path) -> str:
    """The command that fetches what an export did not find."""
    from terrazzo.crs import DEGREES
    from terrazzo.mosaic.warp import transformer

    degrees = transformer(order.area.crs, DEGREES).transform_bounds(*order.area.bounds)
    box = " ".join(f"{v:.5f}" for v in degrees)
    when = order.pixels.datetime or "FIRST/LAST"
    return f"fill it: terrazzo get --store {url} --mosaic {mosaic} --bbox {box} --datetime {when} -o {output}"
