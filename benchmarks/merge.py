"""What merging costs, and how near it comes to the ground: `python -m benchmarks.merge`.

Twelve scenes of five bands, 1024 × 1024 pixels, a quarter of them unusable, noise of 40e-4, and light haze (300e-4, what
the outlier rules leave) on one of twelve. CPU seconds of one processor a megapixel and RMSE in 1e-4, beside numpy's nanmedian on the same scenes.
"""

import time
from typing import get_args

import numpy as np

from terrazzo.bands import NODATA, SCALE
from terrazzo.config import Method
from terrazzo.mosaic.merge import merge

SCENES, BANDS, SIDE = 12, 5, 1024
ROUNDS = 3


def main() -> None:
    """Prints a table in Markdown."""
    print("| method | CPU-s a megapixel | RMSE to the ground, 0.0001 |\n|---|---|---|")
    rng = np.random.default_rng(0)
    ground = rng.uniform(0.02, 0.3, (BANDS, SIDE, SIDE))
    rho = ground + rng.normal(0, 0.004, (SCENES, BANDS, SIDE, SIDE))
    rho += 0.03 * (rng.random((SCENES, 1, SIDE, SIDE)) < 1 / 12)
    counts = np.rint(rho / SCALE).astype(np.int16)
    weight = rng.integers(1, 256, (SCENES, SIDE, SIDE)).astype(np.uint8)
    weight[rng.random(weight.shape) < 0.25] = 0
    for method in get_args(Method):
        merge(counts[..., :8, :8], weight[:, :8, :8], method)
        took = []
        for _ in range(ROUNDS):
            start = time.process_time()
            merged = merge(counts, weight, method)
            took.append(time.process_time() - start)
        line(f"`{method}`", min(took), merged.values, ground)
    values = np.where(weight[:, None] > 0, counts, np.nan).astype(np.float32)
    start = time.process_time()
    middle = np.nanmedian(values, axis=0)
    line("numpy's nanmedian", time.process_time() - start, np.nan_to_num(middle, nan=NODATA), ground)


def line(name: str, took: float, values: np.ndarray, ground: np.ndarray) -> None:
    """Cost and error of one merge, where there is data."""
    there = values[0] != NODATA
    error = np.sqrt(np.mean((values * SCALE - ground)[:, there] ** 2)) / SCALE
    print(f"| {name} | {took / (SIDE**2 / 1e6):.2f} | {error:.1f} |")


if __name__ == "__main__":
    main()
