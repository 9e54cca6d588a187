"""What solving gains costs: made-up strips of a region, one band, one process.

    python -m benchmarks.solver [--tiles 20] [--scenes 24]

Tiles lie in a block of a zone, 110 km a side and 100 km apart, with windows of 5.12 km; each has scenes over all of its windows, half
of the strips of each under clouds. Prints unknowns, seconds of CPU of passes A and B and memory; nothing is read from disk.
"""

import argparse
import resource
import time

import numpy as np

from precompute.normalize import solve
from terrazzo.edges import EDGES, SEGMENTS

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
    a = parser.parse_args()
    obs, gain = observations(a.tiles, a.scenes, 0)
    strip = np.unique(obs.strip, return_inverse=True)[1]
    obs = solve.Observations(obs.scene, strip, obs.corners, obs.hats, obs.m, obs.r, obs.weight)
    shape = (WIDTH + 1, WIDTH + 1)
    count = len(gain)
    rng = np.random.default_rng(1)
    prior = solve.prior_width(rng.uniform(0.5, 1, count), "B02")
    start = time.process_time()
    u = solve.solve_joint(obs, shapes=[shape] * count, prior=prior, free=np.ones(count, bool))
    joint = time.process_time()
    goal = solve.target(obs.r, u[strip])
    ends = np.searchsorted(obs.scene, np.arange(count + 1))
    for i in range(count):
        o = slice(ends[i], ends[i + 1])
        solve.solve_scene(
            obs.m[o], goal[o], obs.weight[o], obs.corners[o], obs.hats[o], shape=shape, spacing=5120.0
        )
    end = time.process_time()
    print(
        f"{a.tiles} tiles × {a.scenes} scenes: {count * shape[0] * shape[1] / 1e6:.2f} M unknowns, {len(obs.m) / 1e6:.1f} M strips;"
        f" A {joint - start:.1f} s, B {end - joint:.1f} s of CPU; {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB"
    )


if __name__ == "__main__":
    main()
