"""The table of clients in the docs: it says no more than the runs did."""

from tests.clients.table import BEGIN, DOCUMENT, END, ROWS, table, told


def test_a_client_is_told_as_the_worst_of_its_tests_and_as_not_run_without_any():
    outcomes = {
        "test_a.py::test_x[1]": "passed",
        "test_a.py::test_x[2]": "failed",
        "test_b.py::test_y": "passed",
    }
    assert told(outcomes, "test_a.py::test_x*") == "failed"
    assert told(outcomes, "test_b.py::*") == "passed"
    assert told(outcomes, "test_c.py::*") == told(outcomes, "") == "not run"
    assert told({"test_a.py::test_x": "skipped"}, "test_a.py::*") == "not run"


def test_the_document_has_a_row_for_each_and_arcgis_is_not_run():
    text = DOCUMENT.read_text()
    shown = text[text.index(BEGIN) + len(BEGIN) : text.index(END)]
    assert shown.count("\n") == len(ROWS) + 2
    assert [r.split("|")[2].strip() for r in shown.splitlines()[2:]] == [what for _, what, _ in ROWS]
    assert table({}, {}).splitlines()[-1] in shown
