"""Takes the atmosphere and the viewing geometry out of reflectance."""

from terrazzo.precompute.correct.atmosphere import surface_reflectance, toa_reflectance
from terrazzo.precompute.correct.brdf import nbar_factor

__all__ = ["nbar_factor", "surface_reflectance", "toa_reflectance"]
