"""A sample of `benchmarks/malformed.py`: documents with nonsense in them end no run and change no pixel unheard."""

from benchmarks.malformed import run


def test_changed_items_and_metadata_are_left_out_come_out_true_or_are_noted():
    outcomes, bad = run(40, 1)
    assert not bad
    assert outcomes["left out"] >= 5
    assert outcomes["true pixels"] >= 5
