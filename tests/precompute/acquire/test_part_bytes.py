"""Of a COG in an archive no more comes than the blocks that a part touches, at its own pixels or an overview's."""

import resource
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

from terrazzo.grid import Bounds
from terrazzo.precompute.acquire.archives import find_archive
from terrazzo.precompute.acquire.download import download
from terrazzo.precompute.acquire.opener import Opener
from terrazzo.precompute.acquire.search import RemoteFile
from tests.world.faults import Kind, Seen, once, proxy
from tests.world.ranges import range_server

LEFT, TOP, SIDE = 600_000, 5_100_000, 2304


@pytest.fixture(scope="module")
def cog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cog") / "B02.tif"
    values = np.random.default_rng(1).integers(1, 60_000, (SIDE, SIDE), np.uint16)
    profile = {
        "driver": "COG", "height": SIDE, "width": SIDE, "count": 1, "dtype": "uint16", "crs": "EPSG:32633", "nodata": 0,
        "transform": from_origin(LEFT, TOP, 10, 10), "blocksize": 256,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values, 1)
    return path


@pytest.mark.parametrize(
    ("overview", "factor", "share"), [(None, 1, 0.15), (40.0, 4, 0.2)], ids=["its pixels", "an overview"]
)
def test_a_part_of_a_cog_takes_a_part_of_its_bytes(
    cog: Path, tmp_path: Path, overview: float | None, factor: int, share: float
) -> None:
    part = Bounds(LEFT + 10_000, TOP - 12_000, LEFT + 12_000, TOP - 10_000)
    with range_server({"B02.tif": cog.read_bytes()}) as server:
        file = RemoteFile(
            "B02", f"{server.address}/B02.tif", "B02.tif", None, None, part=part, overview=overview
        )
        download(Opener(find_archive(server.address)), file, tmp_path, lambda size: None, Event())
        assert server.bytes < share * cog.stat().st_size
    level = {} if overview is None else {"overview_level": {2: 0, 4: 1}[factor]}
    with rasterio.open(tmp_path / "B02.tif") as here, rasterio.open(cog, **level) as whole:
        assert here.res == (10.0 * factor, 10.0 * factor)
        window = rasterio.windows.from_bounds(*here.bounds, whole.transform).round_offsets().round_lengths()
        assert (here.read(1) == whole.read(1, window=window)).all()
        assert here.bounds.left <= part.left
        assert here.bounds.right >= part.right


@pytest.mark.parametrize("overview", [None, 40.0], ids=["its pixels", "an overview"])
@pytest.mark.parametrize("alpha", [False, True], ids=["a mask", "an alpha band"])
def test_a_part_keeps_what_makes_reflectance_and_no_data_of_the_numbers(
    tmp_path: Path, overview: float | None, alpha: bool
) -> None:
    source, side = tmp_path / "source.tif", 1024
    there = np.zeros((side, side), np.uint16)
    there[:, side // 2 :] = 65535
    profile = {
        "driver": "GTiff", "height": side, "width": side, "count": 2 if alpha else 1, "dtype": "uint16", "crs": "EPSG:32633",
        "transform": from_origin(LEFT, TOP, 10, 10), "tiled": True, "blockxsize": 256, "blockysize": 256,
        "photometric": "minisblack",
    }  # fmt: skip
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(source, "w", **profile) as dataset:
        # What is set after the first block is written may lie in a file beside it.
        if alpha:
            dataset.colorinterp = [ColorInterp.gray, ColorInterp.alpha]
        dataset.scales, dataset.offsets = [5e-5] * dataset.count, [-0.1] * dataset.count
        dataset.write(np.full((side, side), 5000, np.uint16), 1)
        if alpha:
            dataset.write(there, 2)
        else:
            dataset.write_mask(there > 0)
        dataset.build_overviews([2, 4])
    part = Bounds(LEFT + 3000, TOP - 6000, LEFT + 7000, TOP - 3000)
    with range_server({"B02.tif": source.read_bytes()}) as server:
        file = RemoteFile(
            "B02", f"{server.address}/B02.tif", "B02.tif", None, None, part=part, overview=overview
        )
        download(Opener(find_archive(server.address)), file, tmp_path, lambda size: None, Event())
    with rasterio.open(tmp_path / "B02.tif") as here:
        assert here.scales[0] == 5e-5
        assert here.offsets[0] == -0.1
        valid = here.read_masks(1) > 0
        middle = round((LEFT + side * 5 - here.bounds.left) / here.res[0])
        assert not valid[:, : middle - 1].any()
        assert valid[:, middle + 1 :].all()


def fetched(address: str, folder: Path, part: Bounds, overview: float | None = None) -> list[str]:
    """Fetches a part of B02.tif; returns the notes."""
    notes: list[str] = []
    file = RemoteFile("B02", f"{address}/B02.tif", "B02.tif", None, None, part=part, overview=overview)
    download(Opener(find_archive(address)), file, folder, lambda size: None, Event(), None, notes.append)
    return notes


def same(path: Path, cog: Path, **level: int) -> bool:
    with rasterio.open(path) as here, rasterio.open(cog, **level) as whole:
        window = rasterio.windows.from_bounds(*here.bounds, whole.transform).round_offsets().round_lengths()
        return bool((here.read(1) == whole.read(1, window=window)).all())


PART = Bounds(LEFT + 10_000, TOP - 12_000, LEFT + 12_000, TOP - 10_000)


@pytest.mark.parametrize(("overview", "level"), [(None, {}), (40.0, {"overview_level": 1})])
def test_the_whole_comes_from_a_server_that_gives_no_parts(
    cog: Path, tmp_path: Path, overview: float | None, level: dict[str, int]
) -> None:
    with range_server({"B02.tif": cog.read_bytes()}) as server:
        server.parts = False
        notes = fetched(server.address, tmp_path, PART, overview)
    assert notes == [f"{server.address}/B02.tif comes whole: its server gives no parts of files"]
    assert same(tmp_path / "B02.tif", cog, **level)
    assert [p.name for p in tmp_path.iterdir()] == ["B02.tif"]


def test_a_server_that_refuses_head_has_the_file_all_the_same(cog: Path, tmp_path: Path) -> None:
    with range_server({"B02.tif": cog.read_bytes()}) as server:
        server.heads = False
        assert not fetched(server.address, tmp_path, PART)
    assert same(tmp_path / "B02.tif", cog)


def test_a_server_that_gives_neither_head_nor_parts_has_the_file_all_the_same(
    cog: Path, tmp_path: Path
) -> None:
    with range_server({"B02.tif": cog.read_bytes()}) as server:
        server.heads = server.parts = False
        assert fetched(server.address, tmp_path, PART)
    assert same(tmp_path / "B02.tif", cog)


def test_weak_etags_keep_no_part_away(cog: Path, tmp_path: Path) -> None:
    with range_server({"B02.tif": cog.read_bytes()}) as server:
        server.weak = True
        assert not fetched(server.address, tmp_path, PART)
    assert same(tmp_path / "B02.tif", cog)


def test_a_whole_that_breaks_off_begins_again_where_its_server_gives_no_parts(
    cog: Path, tmp_path: Path
) -> None:
    with (
        range_server({"B02.tif": cog.read_bytes()}) as server,
        proxy(server.address, once("dropped")) as line,
    ):
        server.parts = False
        file = RemoteFile("B02", f"{line.address}/B02.tif", "B02.tif", None, None)
        download(Opener(find_archive(line.address)), file, tmp_path, lambda size: None, Event())
        assert len(line.seen) > 1
    assert (tmp_path / "B02.tif").read_bytes() == cog.read_bytes()


@pytest.fixture(scope="module")
def plain(cog: Path) -> Path:
    """The same as a GeoTIFF whose blocks are not compressed, its overviews at the end."""
    path = cog.with_name("plain.tif")
    with rasterio.open(cog) as before:
        profile = before.profile | {"driver": "GTiff", "compress": None}
        with rasterio.open(path, "w", **profile) as after:
            after.write(before.read())
            after.build_overviews([2, 4])
    return path


@pytest.mark.parametrize("reads", [1, 2, 4])
def test_an_archive_that_is_busy_in_the_middle_of_a_part_gets_a_rest(
    plain: Path, tmp_path: Path, reads: int
) -> None:
    asked = 0

    def busy(seen: Seen) -> Kind | None:
        """After some reads three requests: obstore's own retries."""
        nonlocal asked
        asked += seen.method == "GET"
        return "down" if seen.method == "GET" and reads <= asked < reads + 3 else None

    with range_server({"B02.tif": plain.read_bytes()}) as server, proxy(server.address, busy) as front:
        fetched(front.address, tmp_path, PART)
        assert asked > reads + 3
    assert same(tmp_path / "B02.tif", plain)


def test_a_file_that_is_replaced_in_the_middle_of_a_part_comes_again(plain: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.tif"
    new.write_bytes(plain.read_bytes())
    with rasterio.open(new, "r+") as dataset:
        dataset.write(dataset.read() // 2)
    with range_server({"B02.tif": plain.read_bytes()}) as server:

        def replaced(seen: Seen) -> None:
            if len(server.given) == 12:
                server.files["B02.tif"] = new.read_bytes()

        with proxy(server.address, replaced) as front:
            fetched(front.address, tmp_path, Bounds(LEFT, TOP - 16_000, LEFT + 16_000, TOP))
    assert same(tmp_path / "B02.tif", new)


def test_a_full_disk_is_not_the_fault_of_the_archive(cog: Path, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As a full disk does, it lets GDAL write the beginning.
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with range_server({"B02.tif": cog.read_bytes()}) as server, pytest.raises(OSError, match="disk full"):
            fetched(server.address, tmp_path, PART)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
