"""The recipes of CONTRIBUTING.md, followed to the letter: their code goes into a copy of the packages, which then knows the addition.

The row of a format of pictures is tried by tests/server/test_tables.py, which draws tiles.
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("terrazzo", "precompute", "server")
ROWS = ("Style(", "SpectralBand(", "Archive(")


def recipe(title: str) -> list[str]:
    """The blocks of Python of a recipe, in order."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    section = page.split(f"### Add {title}\n")[1].split("\n### ")[0]
    blocks = re.findall(r"^( *)```python\n(.+?)\n\1```", section, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for _, code in blocks]


class Copy:
    """A copy of the packages whose Python files can be changed; what else they hold is linked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for package in PACKAGES:
            shutil.copytree(
                ROOT / package,
                folder / package,
                symlinks=True,
                copy_function=lambda a, b: shutil.copy(a, b) if a.endswith(".py") else os.symlink(a, b),
                ignore=shutil.ignore_patterns("__pycache__", "help", "*.nbi", "*.nbc"),
            )

    def insert(self, path: str, code: str, before: str) -> None:
        """Puts code in front of the one place where some text stands, indented like it; a row gets its comma."""
        file = self.folder / path
        text = file.read_text()
        assert text.count(before) == 1, f"{path}: {before}"
        line = next(line for line in text.splitlines() if before.splitlines()[0] in line)
        indent = line[: len(line) - len(line.lstrip())]
        code += "," if before.startswith(ROWS) else ""
        file.write_text(text.replace(indent + before, textwrap.indent(code, indent) + f"\n{indent}{before}"))

    def run(self, code: str) -> None:
        """Runs Python on the copy."""
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), "NUMBA_CACHE_DIR": str(self.folder / "numba")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture
def copy(tmp_path):
    return Copy(tmp_path)


def test_a_style_is_one_row(copy):
    (row,) = recipe("a style")
    copy.insert("terrazzo/bands.py", row, before='Style("nir",')
    copy.run("""
        from terrazzo.bands import STYLES, renders
        from terrazzo.request.parameters import SHOWN_STYLES
        assert "gndvi" in STYLES and "gndvi" in SHOWN_STYLES
        assert renders(["B03", "B08"])["gndvi"]["expression"] == "(b1-b2)/(b1+b2)"
    """)


def test_a_band_is_one_row_and_the_classifier_ignores_it(copy):
    (row,) = recipe("a band")
    copy.insert("terrazzo/bands.py", row, before='SpectralBand("B12",')
    copy.run("""
        import numpy as np
        from terrazzo.bands import BY_COMMON_NAME
        from terrazzo.expression import meant
        from terrazzo.precompute.clouds.model import class_probabilities, load_model
        from terrazzo.store import StoreConfig
        assert BY_COMMON_NAME["thermal"] == "B13"
        assert "B13" in StoreConfig(bands=("B02", "B03", "B04", "B08", "B13")).bands
        four = np.random.default_rng(0).uniform(0.02, 0.5, (4, 8, 8)).astype(np.float32)
        names = ("B02", "B03", "B04", "B08")
        model = load_model("L2A")
        without = class_probabilities(four, names, model)
        assert np.isfinite(without).all()
        five = np.concatenate([four, four[:1]])
        assert (class_probabilities(five, (*names, "B13"), model) == without).all()
    """)


def test_a_merge_method_is_a_name_a_kernel_and_an_entry(copy):
    kernel, shares, entry = recipe("a merge method")
    copy.insert("terrazzo/config.py", '"last",', before='"median",')
    copy.insert(
        "terrazzo/mosaic/kernels.py", f"{kernel}\n\n", before="@njit(cache=True, nogil=True)\ndef mean("
    )
    copy.insert("terrazzo/mosaic/methods.py", f"{shares}\n\n", before="def _mean_shares(")
    copy.insert("terrazzo/mosaic/methods.py", entry, before='"median": _percentile(50),')
    copy.run("""
        import numpy as np
        from terrazzo.mosaic.merge import merge
        from terrazzo.mosaic.methods import shares
        from terrazzo.request.parameters import PICTURE
        assert "last" in PICTURE["method"].choices
        values = np.array([[100, 200], [300, 400], [500, 600]], np.int16)
        weight = np.array([255, 9, 0], np.uint8)
        merged = merge(values[:, :, None, None], weight[:, None, None], "last")
        assert merged.values[:, 0, 0].tolist() == [300, 400] and merged.provenance[0, 0] == 1
        assert (shares(values, weight, "last") * values).sum(axis=0).tolist() == [300, 400]
    """)


def test_an_archive_is_one_row(copy):
    (row,) = recipe("an archive")
    copy.insert("precompute/acquire/archives.py", row, before='Archive(\n            "eopf",')
    copy.run("""
        from terrazzo.precompute.acquire.archives import READABLE, find_archive
        from terrazzo.precompute.acquire.opener import Opener
        archive = find_archive("example")
        assert "example" in READABLE
        _, key = Opener(archive).open("s3://example-sentinel-2/33/T/WL/B04.tif")
        assert key.endswith("B04.tif")
    """)
