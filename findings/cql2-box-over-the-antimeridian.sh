#!/usr/bin/env bash
# cql2 0.6.0 (the Python package of cql2-rs).
#
# One would guess: a box whose west is larger than its east spans the antimeridian, as in GeoJSON, STAC and OGC APIs:
#   BBOX(170,-20,-170,-10) is the 20 degrees around Fiji.
# What happens: the corners are taken as an ordinary rectangle, so the box covers the other 340 degrees. An
#   item in Fiji does not match, one in Africa does. validate() passes, in text and in JSON, and nothing is reported.
# Why it matters: the result is the complement of what was asked, so a search over Fiji, New Zealand's waters or
#   the Aleutians returns scenes of the rest of the world and none of the place. Split the box at 180 degrees.
# Source: RFC 7946, section 5.2 (boxes over the antimeridian); OGC issue 31 of
#   ogcapi-features for OGC APIs. We found no issue of cql2-rs that tells of it.
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
PLACES = {"Fiji (east of 170)": 178.0, "Samoa (west of -170)": -172.0, "just across 180": -179.0,
          "Zambia": 28.0, "Peru": -76.0}


def item(longitude):
    return {"type": "Feature", "id": "a", "geometry": {"type": "Point", "coordinates": [longitude, -15.0]},
            "properties": {"datetime": "2025-07-01T10:30:00Z"}}


over = Expr("S_INTERSECTS(geometry, BBOX(170,-20,-170,-10))")
as_json = Expr({"op": "s_intersects", "args": [{"property": "geometry"}, {"bbox": [170, -20, -170, -10]}]})
split = Expr("S_INTERSECTS(geometry, BBOX(170,-20,180,-10)) OR S_INTERSECTS(geometry, BBOX(-180,-20,-170,-10))")
for expression in (over, as_json, split):
    expression.validate()
for name, longitude in PLACES.items():
    inside = abs(longitude) >= 170
    found, in_json, by_split = (e.matches(item(longitude)) for e in (over, as_json, split))
    print(f"{name:22} {longitude:6}: inside {inside!s:5}  BBOX(170,-20,-170,-10) {found!s:5}  JSON {in_json!s:5}  "
          f"split at 180 {by_split}")
    assert by_split == inside
    assert found == in_json == (not inside), "the behaviour changed"
PY
echo "confirmed: a box over the antimeridian matches its complement"
