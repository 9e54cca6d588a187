"""What parses bytes of others, on whole inputs, on the corpus, and on cut and changed ones; `benchmarks/fuzz.py` looks for more."""

import random

import pytest

from tests.world.fuzz import TARGETS, seeds, tried

pytestmark = pytest.mark.slow
CHANGED = 20
"""Changed inputs to each of the first ones."""


def changed(data, chance):
    """Bytes with a part replaced, removed or doubled."""
    start, size = chance.randrange(len(data) + 1), chance.choice((1, 2, 8, 64))
    part = {"replaced": chance.randbytes(size), "removed": b"", "doubled": 2 * data[start : start + size]}
    return data[:start] + part[chance.choice(list(part))] + data[start + size :]


@pytest.mark.parametrize("name", TARGETS)
def test_bytes_of_others_raise_nothing_but_errors_for_users(name):
    chance, whole = random.Random(5), list(seeds(name))
    inputs = [*whole, b"", *(changed(d, chance) for d in whole for _ in range(CHANGED))]
    assert tried(name, iter(inputs)) == len(inputs) > CHANGED
