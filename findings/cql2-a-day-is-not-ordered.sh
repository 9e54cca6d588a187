#!/usr/bin/env bash
# cql2 0.6.0 (the Python package of cql2-rs).
#
# One would guess: an Item of 1 July 2025, 10:30 UTC, is on or after DATE('2025-07-01') and before DATE('2025-07-02'); or
#   a timestamp and a date do not compare, and matches() raises.
# What happens: both comparisons give False, as if the timestamp lasted a day of its own. Against its own day >=, >, =, <
#   and <= are all False, and against the next day as well. Only an Item of exactly midnight compares as one expects.
#   T_INTERSECTS finds the Item with DATE of the day, but not with an INTERVAL from that day to itself.
#   Written with TIMESTAMP all is as one expects.
# Why it matters: "from 1 July on" loses the scenes of 1 July, and "before 2 July" loses them as well, without
#   an error: < and >= do not split a catalogue. to_sql() of the same expression casts the day to midnight, so a
#   catalogue in memory and one in a database answer differently.
# Source: OGC 21-065r2 allows comparison operators for instants and leaves casts between types to the system; no
#   issue of cql2-rs was found (261 is about other temporal operators). validate() accepts every expression here.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="cql2" tries the newest release.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check ${PACKAGES:-cql2==0.6.0}
cd "$dir"
venv/bin/python - <<'PY'
from importlib.metadata import version

from cql2 import Expr

print("cql2", version("cql2"))
ITEM = {"type": "Feature", "id": "a", "geometry": {"type": "Point", "coordinates": [10.0, 50.0]},
        "properties": {"datetime": "2025-07-01T10:30:00Z"}}


def matches(text):
    expression = Expr(text)
    expression.validate()
    found = expression.matches(ITEM)
    print(f"{text:66} {found}")
    return found


OPERATORS = (">=", ">", "=", "<", "<=")
own_day = [matches(f"datetime {op} DATE('2025-07-01')") for op in OPERATORS]
next_day = [matches(f"datetime {op} DATE('2025-07-02')") for op in OPERATORS]
far = [matches("datetime > DATE('2025-06-30')"), matches("datetime < DATE('2025-07-03')")]
by_timestamp = [
    matches("datetime >= TIMESTAMP('2025-07-01T00:00:00Z')"), matches("datetime < TIMESTAMP('2025-07-02T00:00:00Z')")
]
by_date = matches("T_INTERSECTS(datetime, DATE('2025-07-01'))")
by_interval = matches("T_INTERSECTS(datetime, INTERVAL('2025-07-01','2025-07-01'))")
assert all(far) and all(by_timestamp)
assert not any(own_day) and not any(next_day), "the behaviour changed"
assert by_date and not by_interval, "the behaviour changed"
PY
echo "confirmed: a timestamp is neither before, at, nor after its own day and the next"
