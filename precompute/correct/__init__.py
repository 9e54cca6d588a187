"""Takes the atmosphere and the viewing geometry out of reflectance."""

from precompute.correct.atmosphere import surface_reflectance, toa_reflectance
from precompute.correct.brdf import nbar_factor

__all__ = ["nbar_factor", "surface_reflectance", "toa_reflectance"]
