#!/usr/bin/env bash
# geopandas 1.2.0, rioxarray 0.19.0 and pyproj 3.7.2; odc-geo 0.5.3. Beside them utm 0.9.0 and mgrs 1.6.0.
#
# One would guess: `estimate_utm_crs()` and `CRS.utm()` give the zone that Sentinel-2's tiles of a place have, and of two
#   islands on both sides of 180 degrees one of the zones there.
# What happens: they count six degrees of longitude. The UTM grid of MGRS, and so Sentinel-2's, widens zone 32 over western Norway
#   and has no zones 32, 34 and 36 over Svalbard: Bergen is 32V, Ny-Alesund 33X. The three libraries say 31 and 32. utm and mgrs
#   have the exceptions. The longitude is that of the middle of the bounds: Fiji, from 179.5 E to 179.5 W, gets zone 30, that of Ghana.
#   Projected there, it is turned by half a circle: the island in the east has the smaller x.
# Why it matters: a field of Bergen in the estimated zone lies beside every Sentinel-2 product's pixels, so that each read is a warp
#   by up to three degrees of convergence; a mosaic of zones gets a border where Sentinel-2 has none. Directions of Fiji are reversed
#   without a word, distances and areas are right, which hides it.
# What can be done: take the zone from the Item (`proj:code`, `grid:code`).
# Source: EPSG gives 32631 an area of use from 0 to 6 degrees east, so serapeum-org/pyramids issue 726 calls 31 right; the grid that
#   the products lie in is another.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
# PACKAGES="geopandas rioxarray odc-geo utm mgrs" tries the newest releases.
"$dir/venv/bin/pip" install -qq --no-compile --disable-pip-version-check \
    ${PACKAGES:-geopandas==1.2.0 rioxarray==0.19.0 pyproj==3.7.2 odc-geo==0.5.3 utm==0.9.0 mgrs==1.6.0}
cd "$dir"
venv/bin/python - <<'PY'
from importlib.metadata import version

import geopandas as gpd
import mgrs
import numpy as np
import odc.geo
import rioxarray  # noqa: F401
import shapely
import utm
import xarray as xr

print({p: version(p) for p in ("geopandas", "rioxarray", "pyproj", "odc-geo", "utm", "mgrs")})
PLACES = {"Bergen": (5.32, 60.39, 32, 32631), "Ny-Alesund": (11.90, 78.90, 33, 32632)}
for name, (lon, lat, zone, guessed) in PLACES.items():
    box = shapely.box(lon - 0.05, lat - 0.05, lon + 0.05, lat + 0.05)
    raster = xr.DataArray(np.zeros((2, 2)), dims=("y", "x"), coords={"y": [lat + 0.01, lat], "x": [lon, lon + 0.01]})
    codes = {
        "geopandas": gpd.GeoSeries([box], crs=4326).estimate_utm_crs().to_epsg(),
        "rioxarray": raster.rio.write_crs(4326).rio.estimate_utm_crs().to_epsg(),
        "odc-geo": odc.geo.CRS.utm(lon, lat).to_epsg(),
    }
    tile = mgrs.MGRS().toMGRS(lat, lon)[:5]
    print(f"{name}: MGRS {tile}, utm {utm.from_latlon(lat, lon)[2]}, {codes}")
    assert utm.from_latlon(lat, lon)[2] == int(tile[:2]) == zone
    assert set(codes.values()) == {guessed}, "the exceptions of Norway are known now: the behaviour changed"
fiji = gpd.GeoSeries([shapely.box(179.5, -17, 179.9, -16.5), shapely.box(-179.9, -17, -179.5, -16.5)], crs=4326)
true = utm.from_latlon(-16.75, 179.7)[2], utm.from_latlon(-16.75, -179.7)[2]
code = fiji.estimate_utm_crs()
west, east = fiji.to_crs(code).centroid.x
print(f"Fiji: zones {true}, geopandas {code.to_epsg()}: x of the western island {west:.0f}, of the eastern one {east:.0f}")
assert true == (60, 1) and code.to_epsg() == 32730, "the middle lies in Fiji now: the behaviour changed"
assert east < west, "east lies in the east now: the behaviour changed"
PY
echo "confirmed: estimated UTM zones are not Sentinel-2's in Norway, and Fiji's turns it round"
