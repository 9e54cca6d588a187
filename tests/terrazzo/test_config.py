"""mosaic.toml: what is understood, and how mistakes are named."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrazzo.config import day_interval, parse_config
from terrazzo.errors import InvalidRequest, StoreError

PERIODS = """
title = "Croatia"
method = "robust"
bounds = [15.0, 45.0, 16.5, 46.1]
[[periods]]
name = "2023-07"
start = 2023-07-01
end = 2023-07-31
[[periods]]
name = "2023-08"
start = 2023-08-01
end = 2023-08-31
[[parents]]
name = "summer-2023"
members = ["2023-07", "2023-08"]
"""


def test_periods_and_their_parents_are_read():
    config = parse_config("croatia", PERIODS)
    assert config.method == "robust"
    assert config.bounds == (15.0, 45.0, 16.5, 46.1)
    summer = config.periods[-1]
    assert (summer.start, summer.end, summer.members) == (
        date(2023, 7, 1),
        date(2023, 8, 31),
        ("2023-07", "2023-08"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method = 'magic'", "allowed are feather"),
        ("colour = 'blue'", "unknown entries colour"),
        ("periods = [{name = 'a'}]", "lacks 'start'"),
        (
            "periods = [{name='a', start=2023-01-01, end=2023-02-10}, {name='b', start=2023-02-01, end=2023-03-01}]",
            "overlap",
        ),
        ("periods = [{name='a', start=2023-03-01, end=2023-02-10}]", "start first"),
        ("parents = [{name='y', members=['a']}]", "unknown: \\['a'\\]"),
        ("title = ", "mosaic.toml of m"),
        ("pyramid_from = 0.0", "pyramid_from = 0.0: metres"),
        ("bounds = [15, 46, 'x', 47]", r"bounds = .*four numbers, \[W, S, E, N\]"),
        (
            "reference = 'climatology'",
            "name a parent .*terrazzo export .*--datetime PARENT .* reference_file",
        ),
    ],
)
def test_a_mistake_is_named(text, message):
    with pytest.raises(StoreError, match=message):
        parse_config("m", text)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2023", date(2023, 1, 1), date(2023, 12, 31)),
        ("2023-12", date(2023, 12, 1), date(2023, 12, 31)),
        ("2024-02", date(2024, 2, 1), date(2024, 2, 29)),
        ("2023-08-13", date(2023, 8, 13), date(2023, 8, 13)),
        ("2023-08-13T00:00:00Z/2023-08-20T00:00:00Z", date(2023, 8, 13), date(2023, 8, 19)),
        ("../2023-08", None, date(2023, 8, 31)),
        ("2023-08/..", date(2023, 8, 1), None),
    ],
)
def test_a_datetime_is_an_interval_of_days(text, first, last):
    assert day_interval(text) == (first, last)


@given(st.dates(date(2015, 6, 23), date(2100, 1, 1)))
def test_every_day_is_its_own_interval(day):
    assert day_interval(day.isoformat()) == (day, day)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2023-13", "2023-02-30", "2023/2022", "a/b/c", "20230813x"]
)
def test_what_is_no_date_is_refused_with_examples(text):
    with pytest.raises(InvalidRequest):
        day_interval(text)
