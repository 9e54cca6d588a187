"""The steps of precompute, in the order they run."""

from typing import Literal

Step = Literal["import", "mask", "correct", "strips", "reference", "weigh", "solve", "publish"]
SCENE_STEPS = ("import", "mask", "correct", "strips")
"""Run together for a scene: decoding it costs more than any of them."""
SOLVE_STEPS = ("reference", "weigh", "solve")
