"""What the tests of the engine share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.store import Store
from terrazzo.version import open_version


@pytest.fixture(scope="module")
def engine(sample_store: Path) -> Iterator[Engine]:
    """An engine of the sample's mosaic, one a module, so that what a test does to its blocks reaches no other module."""
    engine = Engine(open_version(Store(sample_store), "mosaic"), Blocks())
    yield engine
    engine.blocks.close()
