"""Takes the viewing geometry, and later the atmosphere, out of reflectance."""

from precompute.correct.brdf import nbar_factor

__all__ = ["nbar_factor"]
