"""What an expression may cost, which is known before it runs, and that it ends when nobody waits."""

import threading
from contextvars import copy_context

import numexpr
import numpy as np
import pytest

from terrazzo.errors import Abandoned, InvalidRequest
from terrazzo.expression import checked, evaluate
from terrazzo.stop import STOP


@pytest.mark.parametrize(
    "expression",
    [
        "(((B04**10)**10)**10)",
        "((((((B04**9)**9)**9)**9)**9)**9)**9",
        "+".join(["B04**10"] * 40),
        ";".join(["B04**10"] * 40),
        "maximum((B04**10)**10,(B08**10)**10)+(B02**10)**10",
        "((B04+B08)**10)**10-((B04+B08)**10)**10",
        "(((B04**-9)**-9)**-9)",
    ],
)
def test_powers_of_powers_are_refused_by_their_product_before_anything_is_computed(expression, monkeypatch):
    """Written out as products, as they are computed, the second one would be 4.8 million."""
    monkeypatch.setattr(numexpr, "evaluate", lambda *a, **k: pytest.fail("it was computed"))
    with pytest.raises(InvalidRequest, match="use smaller powers or fewer parts"):
        checked(expression)


@pytest.mark.parametrize("expression", ["-" * 200 + "B04", "~" * 300 + "B04"])
def test_operations_inside_each_other_are_bounded(expression):
    with pytest.raises(InvalidRequest, match="inside each other"):
        checked(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "(B08-B04)/(B08+B04)",
        "B04**10",
        "(B04**3)**3",
        "+".join(["B04"] * 120),
        "-" * 100 + "B04",
        "(" * 100 + "B04" + ")" * 100,
        "sin(" * 90 + "B04" + ")" * 90,
        "2.5*(B08-B04)/(B08+6*B04-7.5*B02+1)",
    ],
)
def test_what_people_ask_for_is_computed(expression):
    assert checked(expression) == expression


def test_pieces_of_a_large_picture_are_the_whole():
    rng = np.random.default_rng(5)
    pixels = rng.uniform(0, 1, (2, 1100, 1100)).astype(np.float32)
    pixels[0, 3, 4] = np.nan
    values = evaluate("(B08-B04)/(B08+B04);B04*2", ("B08", "B04"), pixels)
    b8, b4 = pixels
    np.testing.assert_allclose(values[0], (b8 - b4) / (b8 + b4), rtol=1e-5)
    np.testing.assert_allclose(values[1], np.where(np.isnan(b8), np.nan, b4 * 2), rtol=1e-6)


def test_it_ends_when_the_client_left():
    stop, context = threading.Event(), copy_context()
    context.run(STOP.set, stop)
    pixels = np.ones((1, 4, 4), np.float32)
    assert context.run(evaluate, "B04*2", ("B04",), pixels).max() == 2
    stop.set()
    with pytest.raises(Abandoned):
        context.run(evaluate, "B04*2", ("B04",), pixels)
