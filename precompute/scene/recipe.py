"""What a user may choose of how a product becomes a scene."""

from dataclasses import dataclass
from pathlib import Path

from terrazzo.precompute.correct.brdf import Brdf
from terrazzo.precompute.scene.shift import Shift


@dataclass(frozen=True)
class Recipe:
    """How a product becomes a scene.

    Attributes:
        mask: `fused`, `scl` or `model`, see `mask_scene`; `asset:NAME` takes the Item's asset of that name, which holds
            the numbers of `MaskClass`.
        brdf: `nadir` takes the view angles out over land, `nadir+sun` the sun's height too.
        dem: elevation model, for the shadows of hills and the pressure over L1C products; sea level and no such shadows without.
        shift: how far the product's ground lies off, which a resampling undoes; None leaves it where it is.
    """

    mask: str = "fused"
    brdf: Brdf = "nadir"
    dem: Path | None = None
    shift: Shift | None = None
