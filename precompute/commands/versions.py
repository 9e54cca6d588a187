"""Commands on versions: publish, pin, unpin, prune, exclude, include, rebuild."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from terrazzo.errors import InvalidRequest, StoreError
from terrazzo.precompute.work.options import worker_options
from terrazzo.words import counted

F = TypeVar("F", bound=Callable[..., Any])


def _of_mosaic(function: F) -> F:
    function = click.option("--mosaic", default="mosaic", show_default=True, help="name of the mosaic")(
        function
    )
    return click.option(
        "--store", "url", required=True, metavar="STORE", help="folder or address of the store"
    )(function)


@click.command()
@_of_mosaic
@click.option("--version", "name", help="roll back or forward to this version, or the first digits of it")
@click.option("--full", is_flag=True, help="solve all tiles again, not only those whose scenes changed")
@click.option("--force", is_flag=True, help="publish the version even if it is worse than the current one")
@worker_options
def publish(
    url: str, mosaic: str, name: str | None, full: bool, force: bool, workers: int, dask: str | None
) -> None:
    """Points a mosaic to one of its versions; without --version, to a new one of the scenes in the store.

    Servers follow within seconds. A new version uses the options of the current one (normalization, registration, levels)
    with the present scenes, exclusions and mosaic.toml; `--full` makes the gains of the whole area consistent again after
    many single scenes.

    \b
    terrazzo publish --store demo --version 3f2a
    terrazzo publish --store demo --full
    """
    from rich.console import Console

    from terrazzo.precompute.commands.precompute import print_result, refuse_worse
    from terrazzo.precompute.pipeline import Options, run
    from terrazzo.precompute.versions.pointer import point_to
    from terrazzo.precompute.work.executor import hired
    from terrazzo.precompute.work.lease import writer
    from terrazzo.store import Store
    from terrazzo.version import known_version, open_version

    store, console = Store(url), Console(stderr=True)
    if name is not None:
        if full:
            raise InvalidRequest("--full makes a new version; leave out --version")
        with writer(store, f"publish of mosaic {mosaic}"):
            version = known_version(store, mosaic, name)
            point_to(store, version)
        console.print(f"mosaic {mosaic} shows version {version.name}", highlight=False)
        return
    known = open_version(store, mosaic).lock["parameters"]
    with hired(workers, dask) as hands:
        options = Options(**{**known, "workers": hands, "full": full, "force": force})
        result = run((), store, mosaic, options, console=console)
    print_result(result, url, mosaic, console)
    refuse_worse(result, url, mosaic)


@click.command()
@click.argument("version")
@_of_mosaic
def pin(version: str, url: str, mosaic: str) -> None:
    """Keeps a version from being pruned. VERSION is its name or the first digits of it."""
    _pin(version, url, mosaic, True)


@click.command()
@click.argument("version")
@_of_mosaic
def unpin(version: str, url: str, mosaic: str) -> None:
    """Lets a version be pruned again."""
    _pin(version, url, mosaic, False)


def _pin(name: str, url: str, mosaic: str, pinned: bool) -> None:
    from terrazzo.precompute.versions.pointer import set_pin
    from terrazzo.precompute.work.lease import writer
    from terrazzo.store import Store
    from terrazzo.version import known_version

    store = Store(url)
    with writer(store, f"pins of mosaic {mosaic}"):
        set_pin(store, mosaic, known_version(store, mosaic, name).name, pinned)


@click.command()
@_of_mosaic
@click.option(
    "--keep-versions",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="number of the newest versions to keep",
)
@click.option(
    "--grace",
    type=click.FloatRange(0),
    default=24.0,
    show_default=True,
    help="hours that a replaced version stays, for exports and servers that still read it",
)
@click.option("--dry-run", is_flag=True, help="list what would be removed")
def prune(url: str, mosaic: str, keep_versions: int, grace: float, dry_run: bool) -> None:
    """Removes old versions, and the scenes, weights and references that no version refers to any more.

    The current version and pinned ones always stay, and so do scenes that were computed and not published yet. A run that is
    stopped at any moment leaves a store that can be served; the next one completes it.
    """
    from terrazzo.precompute.versions import prune as pruning
    from terrazzo.precompute.work.lease import writer
    from terrazzo.store import Store
    from terrazzo.version import current_version

    store = Store(url)
    with writer(store, f"prune of mosaic {mosaic}"):
        current_version(store, mosaic)
        planned = pruning.plan(store, mosaic, keep_versions, grace=timedelta(hours=grace))
        if not dry_run:
            pruning.prune(store, mosaic, planned)
    for name, why in planned.kept.items():
        click.echo(f"stays  {name}: {why}")
    for name in planned.versions:
        click.echo(f"goes   {name}")
    for prefix in planned.scenes:
        click.echo(f"goes   {prefix}")
    click.echo(
        f"{'would free' if dry_run else 'freed'} {planned.bytes / 1e6:.1f} MB:"
        f" {counted(len(planned.versions), 'version')}, {counted(len(planned.scenes), 'scene')},"
        f" {counted(len(planned.solved), 'file')} of references, weights and differences"
    )


@click.command()
@click.argument("scene")
@_of_mosaic
@click.option(
    "--polygon",
    type=click.Path(exists=True, path_type=Path),
    help="exclude only the polygons of this file, which OGR can read, such as GeoJSON or GeoPackage",
)
@click.option("--reason", required=True, help="the reason, for later readers; the lock contains it")
def exclude(scene: str, url: str, mosaic: str, polygon: Path | None, reason: str) -> None:
    """Takes a scene, or a part of it, out of a mosaic's next versions.

    SCENE is its name or the beginning of it.
    Where another scene is clear it shows instead. The scene's files stay; versions that exist stay as they are.

    \b
    terrazzo exclude S2A_33TWL_20230815_0_L2A --store demo --reason "smoke"
    terrazzo exclude S2A_33TWL_20230815_0_L2A --store demo --polygon smoke.geojson --reason "smoke"
    """
    from terrazzo.precompute.versions import exclusions
    from terrazzo.precompute.work.lease import writer
    from terrazzo.scene import by_beginning, list_scenes
    from terrazzo.store import Store

    store = Store(url)
    scene = by_beginning(scene, (s.id for s in list_scenes(store)), "scene", "the store")
    with writer(store, f"exclude from mosaic {mosaic}"):
        exclusions.exclude(store, mosaic, scene, reason, polygon)
    click.echo(
        f"{scene} is out; takes effect with the next version: terrazzo publish --store {url} --mosaic {mosaic}",
        err=True,
    )


@click.command()
@click.argument("scene")
@_of_mosaic
def include(scene: str, url: str, mosaic: str) -> None:
    """Takes an excluded scene back into a mosaic's next versions, whole. SCENE is its name or the beginning of it."""
    from terrazzo.precompute.versions import exclusions
    from terrazzo.precompute.work.lease import writer
    from terrazzo.store import Store

    store = Store(url)
    with writer(store, f"include into mosaic {mosaic}"):
        exclusions.include(store, mosaic, scene)
    click.echo(
        f"takes effect with the next version: terrazzo publish --store {url} --mosaic {mosaic}", err=True
    )


@click.command()
@click.argument("lock", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--store", "url", required=True, metavar="STORE", help="folder or address of a new store")
@click.option("--mosaic", default="mosaic", show_default=True, help="name of the mosaic in it")
@click.option(
    "--dem",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="the elevation model used, if one was",
)
@worker_options
def rebuild(
    lock: Path,
    sources: tuple[str, ...],
    url: str,
    mosaic: str,
    dem: Path | None,
    workers: int,
    dask: str | None,
) -> None:
    """Computes a version again, in a new store, from its LOCK (a version's lock.json) and the same products.

    SOURCE is the same as for `precompute`. The command first names all inputs that are missing. With the same release of
    Terrazzo the new version has the same name, and so the same pixels; another release says what differs.
    """
    from rich.console import Console

    from terrazzo.precompute import sample
    from terrazzo.precompute.versions.rebuild import rebuild as make
    from terrazzo.precompute.work.executor import hired

    console = Console(stderr=True)
    folders = [sample.path() if s == "sample" and not Path(s).exists() else Path(s) for s in sources]
    with hired(workers, dask) as hands:
        rebuilt = make(lock, folders, url, mosaic, dem=dem, workers=hands, console=console)
    console.print(f"mosaic {mosaic}, version {rebuilt.version.name}", highlight=False)
    if rebuilt.differs:
        raise StoreError("the version is not the same: " + "; ".join(rebuilt.differs))


@click.group()
def store() -> None:
    """Verifies a store, or upgrades its format."""


@store.command()
@click.argument("url", metavar="STORE")
@click.argument("sources", nargs=-1, metavar="[SOURCE]...", type=click.Path(exists=True, path_type=Path))
@click.option("--quick", is_flag=True, help="presence, sizes and documents only; checksums read every file")
@click.option("--json", "as_json", is_flag=True, help="as JSON, one finding a line")
@click.option(
    "--repair",
    "mend",
    is_flag=True,
    help="compute damaged files again from products, scenes and locks, and say what the rest needs",
)
@click.option(
    "--dem",
    type=click.Path(exists=True, path_type=Path),
    help="with --repair: elevation model, as in precompute",
)
@worker_options
def verify(
    url: str,
    sources: tuple[Path, ...],
    quick: bool,
    as_json: bool,
    mend: bool,
    dem: Path | None,
    workers: int,
    dask: str | None,
) -> None:
    """Checks every file that versions refer to, and lists files that nothing refers to.

    It ends with an error if something is missing or damaged; unused files only take disk space. --repair computes scenes
    again from their products, in SOURCE or at their old place, then weights, gains and tables of a store in a folder, then
    pyramids. The rest is listed with its remedy.

    \b
    terrazzo store verify demo
    terrazzo store verify demo --repair products/
    """
    from rich.console import Console

    from terrazzo.precompute.versions import verify as checking
    from terrazzo.precompute.versions.repair import repair
    from terrazzo.precompute.work.executor import hired
    from terrazzo.precompute.work.lease import writer
    from terrazzo.store import Store

    if (sources or dem) and not mend:
        raise InvalidRequest("SOURCE and --dem go with --repair")
    there = Store(url)

    def checked() -> list[checking.Finding]:
        findings = []
        for f in checking.verify(there, contents=not quick):
            findings.append(f)
            line = {"kind": f.kind, "where": f.where, "what": f.what}
            click.echo(json.dumps(line) if as_json else f"{f.kind:<10} {f.where}  ({f.what})")
        return findings

    findings = checked()
    if mend and any(f.bad for f in findings):
        with writer(there, "repair"), hired(workers, dask) as hands:
            for r in repair(there, findings, sources, dem=dem, workers=hands, console=Console(stderr=True)):
                line = {"kind": "repaired" if r.done else "left", "where": r.where, "what": r.what}
                click.echo(json.dumps(line) if as_json else f"{line['kind']:<10} {r.where}  ({r.what})")
        findings = checked()
    checking.require_sound(findings)
    if not as_json:
        click.echo(f"sound; {counted(len(findings), 'unreferenced file')}")


@store.command()
@click.argument("url", metavar="STORE")
@click.option("--dry-run", is_flag=True, help="print what would be done, and change nothing")
@click.option("--undo", is_flag=True, help="go back to the former format; restart servers afterwards")
@click.option(
    "--finish",
    is_flag=True,
    help="remove the files that --undo needs, and files that nothing reads any more",
)
@worker_options
def upgrade(url: str, dry_run: bool, undo: bool, finish: bool, workers: int, dask: str | None) -> None:
    """Upgrades a store to the format of this release.

    Servers keep running: they read both formats. A run that was stopped is completed by the next one.

    \b
    terrazzo store upgrade demo --dry-run
    terrazzo store upgrade demo
    terrazzo store upgrade demo --finish
    """
    from rich.console import Console

    from terrazzo.precompute.versions import upgrade as upgrading
    from terrazzo.precompute.work.executor import hired
    from terrazzo.precompute.work.lease import writer
    from terrazzo.store import FORMAT, Store

    there, console = Store(url), Console(stderr=True)
    if undo + finish + dry_run > 1:
        raise InvalidRequest("--dry-run, --undo and --finish are different things: name one")
    if dry_run:
        for change in upgrading.changes(there):
            click.echo(f"{change.kind:<7} {change.where}")
        return
    with writer(there, "upgrade"), hired(workers, dask) as hands:
        if undo:
            upgrading.undo(there)
        elif finish:
            click.echo(f"{counted(len(upgrading.finish(there)), 'file')} removed")
        elif there.config.format == FORMAT:
            click.echo(f"{url} has format {FORMAT} already")
        else:
            done = upgrading.upgrade(there, workers=hands, console=console)
            click.echo(
                f"format {FORMAT}: {len(done)} changes; --undo takes them back, --finish makes them final"
            )
