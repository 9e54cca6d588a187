"""The report of a version."""

from terrazzo.precompute.judge.report import _gains
from terrazzo.precompute.judge.seams import View
from terrazzo.store import Store
from terrazzo.version import open_version
from tests.golden.make import STORE


def test_gains_of_thousands_of_scenes_are_charted_in_a_picture_that_can_be_made():
    view = View(open_version(Store(STORE), "mosaic"), "all", 32633)
    view.__dict__["entries"] = view.entries * 3000
    assert _gains(view).startswith(b"\xff\xd8")
