"""Times of a search as half-open spans: a day is [day, day + 1), an instant one microsecond."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from terrazzo.config import day_interval
from terrazzo.errors import InvalidRequest

DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
DAYS = re.compile(r"\s*\d{4}(-\d{2}){0,2}\s*")
"""A year, a month or a day, which other interfaces take."""
INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000
ALWAYS = 1 << 62
FORM = "a day (2023-08-15) or a time with its zone (2023-08-15T10:00:00Z)"


class Span(NamedTuple):
    """Microseconds since 1970 in UTC: from `low` up to, without, `high`."""

    low: int
    high: int


def microseconds(when: datetime) -> int:
    """Microseconds since 1970 of a time with a zone."""
    return (when - EPOCH) // timedelta(microseconds=1)


def span_of(text: object) -> Span:
    """The span that a day or an instant is.

    Raises:
        InvalidRequest: the text is neither.
    """
    whole = text.strip() if isinstance(text, str) else ""
    try:
        if DAY.fullmatch(whole):
            midnight = datetime.combine(date.fromisoformat(whole), datetime.min.time(), UTC)
            low = microseconds(midnight)
            return Span(low, low + 86_400 * SECOND)
        if INSTANT.fullmatch(whole):
            low = microseconds(datetime.fromisoformat(whole.upper()))
            return Span(low, low + 1)
    except (ValueError, OverflowError):
        pass
    raise InvalidRequest(f"{str(text)[:40]!r} is no time: write {FORM}")


def interval_of(begin: object, end: object) -> Span:
    """The span from a time to another, both included; `..` or nothing is open.

    Raises:
        InvalidRequest: a time is not understood, both are open, or the first lies after the second.
    """
    first, last = (None if t in ("", "..", None) else span_of(t) for t in (begin, end))
    if first is None and last is None:
        raise InvalidRequest(
            f"an interval needs a begin or an end: {FORM}, / between two, .. for an open end"
        )
    span = Span(first.low if first else -ALWAYS, last.high if last else ALWAYS)
    if span.low >= span.high:
        raise InvalidRequest(f"{begin}/{end}: the end lies before the start; exchange them")
    return span


def datetime_of(text: object) -> Span:
    """The span of a search's `datetime`: an instant, or two with `/` between.

    The standard wants instants there, and clients write a day as its first and last second: a second that ends an
    interval counts whole.

    Raises:
        InvalidRequest: it is neither.
    """
    parts = text.split("/") if isinstance(text, str) else [text]
    if any(isinstance(p, str) and DAYS.fullmatch(p) for p in parts):
        first, last = day_interval(str(text))
        written = f"{first}T00:00:00Z" if first else "..", f"{last}T23:59:59Z" if last else ".."
        raise InvalidRequest(
            f"datetime: the standard wants times here; write {text} as {'/'.join(written)}, or filter by days"
        )
    if len(parts) > 2:
        raise InvalidRequest("datetime: a time with its zone (2023-08-15T10:00:00Z), or two with / between")
    if len(parts) == 1:
        return span_of(parts[0])
    span = interval_of(*parts)
    is_whole = isinstance(parts[1], str) and "." not in parts[1] and parts[1] not in ("", "..")
    return Span(span.low, span.high + SECOND - 1) if is_whole else span
