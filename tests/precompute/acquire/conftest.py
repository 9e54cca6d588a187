"""A STAC API and an S3 server with the sample area, and the command that reads from them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.waiting import PATIENCE
from tests.world import archive as world
from tests.world.archive import Archive


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """The sample area in an archive on this machine."""
    try:
        world.programs()
    except (OSError, subprocess.CalledProcessError) as error:
        missing(f"the servers of .ci/archive.in cannot be installed: {getattr(error, 'stderr', error)}")
    folder = tmp_path_factory.mktemp("archive")
    with (
        world.s3_server(folder, world.sample_files()) as s3,
        world.stac_server(folder, world.sample_items()) as stac,
    ):
        yield Archive(stac, s3)


@pytest.fixture
def terrazzo(archive: Archive) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command in an environment that leads to the archive, or to a proxy before it."""

    def run(*arguments: object, s3: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).parent / "terrazzo", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, env=archive.environment(s3), timeout=PATIENCE
        )

    return run
