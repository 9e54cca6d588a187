"""What solving gains costs: made-up strips of a region, one band, one process.

    python -m benchmarks.solver [--tiles 20] [--scenes 24] [--band B02]

Tiles lie in a block of a zone, 110 km a side and 100 km apart, with windows of 5.12 km; each has scenes over all of its windows, half
of the strips of each under clouds. Prints unknowns (gains and offsets), seconds of CPU and memory; nothing is read from disk.
"""

import argparse
import resource
import time
from dataclasses import replace

import numpy as np

from terrazzo.edges import EDGES, SEGMENTS
from terrazzo.precompute.normalize import solve

WIDTH, APART = 22, 20
"""Windows to a side of a tile, and from a tile to the next."""
CLEAR = 0.5


def observations(tiles: int, scenes: int, seed: int) -> tuple[solve.Observations, np.ndarray]:
    """Strips of all scenes, and the true log gain of each scene."""
    rng = np.random.default_rng(seed)
    across = int(np.ceil(np.sqrt(tiles)))
    side = across * APART + WIDTH
    land = rng.uniform(0.03, 0.15, (side, side, len(EDGES), SEGMENTS)).astype(np.float32)
    wy, wx, edge, segment = (v.ravel() for v in np.indices((WIDTH, WIDTH, len(EDGES), SEGMENTS)))
    corner = wy * (WIDTH + 1) + wx
    corners = np.stack([corner, corner + 1, corner + WIDTH + 1, corner + WIDTH + 2], axis=1)
    hats = solve.strip_hats(512, 8)[edge, segment]
    gain = rng.normal(0, 0.05, tiles * scenes)
    parts = []
    for i, g in enumerate(gain):
        row, col = np.divmod(i // scenes, across)
        at = (wy + row * APART, wx + col * APART, edge, segment)
        seen = rng.random(len(wy)) < CLEAR
        r = land[at][seen].astype(float)
        m = r * np.exp(g + rng.normal(0, 0.02, len(r)))
        strip = np.ravel_multi_index(at, land.shape)[seen]
        parts.append((np.full(len(r), i), strip, corners[seen], hats[seen], m, r, np.full(len(r), 0.9)))
    return solve.Observations(*(np.concatenate(v) for v in zip(*parts, strict=True))), gain


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiles", type=int, default=20)
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--band", default="B02")
    a = parser.parse_args()
    _compiled()
    obs, gain = observations(a.tiles, a.scenes, 0)
    obs = replace(obs, strip=np.unique(obs.strip, return_inverse=True)[1])
    shape = (WIDTH + 1, WIDTH + 1)
    count = len(gain)
    rng = np.random.default_rng(1)
    prior = solve.prior(rng.uniform(0.5, 1, count), a.band, 5120.0)
    start = time.process_time()
    solve.solve_fields(obs, shapes=[shape] * count, prior=prior, free=np.ones(count, bool))
    end = time.process_time()
    unknowns = 2 * count * shape[0] * shape[1] / 1e6
    print(
        f"{a.tiles} tiles × {a.scenes} scenes: {unknowns:.2f} M unknowns, {len(obs.m) / 1e6:.1f} M strips;"
        f" {end - start:.1f} s of CPU, {(end - start) / unknowns:.1f} s a million; {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB"
    )


def _compiled() -> None:
    """Lets numba compile before time is taken."""
    obs, _ = observations(1, 2, 0)
    obs = replace(obs, strip=np.unique(obs.strip, return_inverse=True)[1])
    solve.solve_fields(
        obs,
        shapes=[(WIDTH + 1, WIDTH + 1)] * 2,
        prior=solve.prior(np.ones(2), "B02", 5120.0),
        free=np.ones(2, bool),
    )


if __name__ == "__main__":
    main()
