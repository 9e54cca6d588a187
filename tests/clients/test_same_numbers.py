"""Every interface of a mosaic gives the same numbers; docs/evidence/interfaces.md shows them."""

import numpy as np
import pytest

from tests.clients.same_numbers import BEGIN, END, INTERFACES, PAGE, QUESTIONS, Interfaces, answers, table

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def numbers(address, sample_store, tmp_path_factory):
    return answers(Interfaces(address, sample_store, tmp_path_factory.mktemp("interfaces")))


def test_every_interface_gives_the_same_numbers(numbers):
    for question, row in numbers.items():
        given = {name: v for name, v in zip(INTERFACES, row, strict=True) if v is not None}
        np.testing.assert_allclose(
            [*given.values()], given["export"], rtol=0, atol=1e-6, err_msg=f"{question}: {given}"
        )


def test_the_questions_have_answers_of_their_own(numbers):
    """Otherwise an interface that ignores a parameter would answer right."""
    assert len({round(row[0], 5) for row in numbers.values()}) == len(QUESTIONS)


def test_the_page_shows_these_numbers(numbers):
    text = PAGE.read_text()
    shown = text[text.index(BEGIN) + len(BEGIN) : text.index(END)]
    assert shown == table(numbers), "python -m tests.clients.same_numbers STORE writes it anew"
