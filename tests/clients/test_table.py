"""The tables of clients and places in the docs: they say no more than the runs did."""

import pytest

from tests.clients.table import BEGIN, END, TABLES, table, told
from tests.conftest import ROOT


def test_a_client_has_the_result_of_its_worst_test_and_not_run_without_any():
    outcomes = {
        "test_a.py::test_x[1]": "passed",
        "test_a.py::test_x[2]": "failed",
        "test_b.py::test_y": "passed",
    }
    assert told(outcomes, "test_a.py::test_x*") == "failed"
    assert told(outcomes, "test_b.py::*") == "passed"
    assert told(outcomes, "test_c.py::*") == told(outcomes, "") == "not run"
    assert told({"test_a.py::test_x": "skipped"}, "test_a.py::*") == "not run"


@pytest.mark.parametrize(("document", "head", "rows"), TABLES, ids=[d.stem for d, _, _ in TABLES])
def test_a_document_has_a_row_for_each_and_says_what_is_not_run(document, head, rows):
    text = document.read_text()
    shown = text[text.index(BEGIN) + len(BEGIN) : text.index(END)]
    assert shown.count("\n") == len(rows) + 2
    assert [r.split("|")[2].strip() for r in shown.splitlines()[2:]] == [what for _, what, _ in rows]
    assert table({}, {}, head, rows).splitlines()[-1] in shown


def test_every_row_names_tests_that_there_are():
    names = {p.name: p.read_text() for p in ROOT.glob("tests/**/test_*.py")}
    for _, _, rows in TABLES:
        for _, _, patterns in rows:
            for pattern in filter(None, patterns.split("|")):
                file, _, test = pattern.partition("::")
                stem = test.split("*")[0]
                assert file in ("*", "newest/*") or f"def {stem}" in names[file], pattern
