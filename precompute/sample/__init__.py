"""The sample area: ten real Sentinel-2 L2A scenes around Zagreb, August 2023 (see README.md beside this file)."""

from importlib.resources import files
from pathlib import Path

PIXEL, MASK_PIXEL, WINDOW = 60.0, 60.0, 64
BANDS = ("B02", "B03", "B04", "B08")


def path() -> Path:
    """The folder of the sample's STAC Items."""
    return Path(str(files(__package__)))
