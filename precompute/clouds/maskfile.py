"""What lies beside a mask file for GDAL and QGIS: colours, names and shares of its classes; and whether its source's numbers are reflectance."""

from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import PALETTE, MaskClass
from terrazzo.errors import InvalidRequest

DARKEST, BRIGHTEST = 0.01, 2.0
"""Reflectance that the brightest pixels of a picture exceed, and that half of its pixels do not."""
DARKEST_OF_BYTES = 0.03
"""The same of 8-bit files: counts of 1e-4 end at 0.0255 there."""
LOWEST = -0.02
"""Reflectance that half of the pixels exceed."""
SCALES, OF_BYTES = (1.0, 1e-4, 1e-3, 1e-2, 1 / 65535), (1 / 255, 1e-2)
"""Scales that files of reflectance have, the usual ones first; those of 8-bit files."""


def class_name(value: int) -> str:
    """A class in words, such as `thin cloud`."""
    return {0: "no data", 7: "saturated"}.get(value, MaskClass(value).name.lower().replace("_", " "))


def described(counts: NDArray[np.int64]) -> str:
    """GDAL's XML beside a mask: colours, names and an attribute table of the classes of band 1.

    A GeoTIFF of several bands has no place for them.

    Args:
        counts: (class,) pixels.
    """
    root = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
    ElementTree.SubElement(band, "ColorInterp").text = "Palette"
    colours, names = ElementTree.SubElement(band, "ColorTable"), ElementTree.SubElement(band, "CategoryNames")
    table = ElementTree.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    # Kinds 0 whole number, 2 text; uses 5 value, 2 name, 1 count, 6 to 9 red, green, blue, alpha.
    columns = (
        ("Value", 0, 5),
        ("Class", 2, 2),
        ("Count", 0, 1),
        ("Red", 0, 6),
        ("Green", 0, 7),
        ("Blue", 0, 8),
        ("Alpha", 0, 9),
    )
    for index, (name, kind, use) in enumerate(columns):
        field = ElementTree.SubElement(table, "FieldDefn", index=str(index))
        for tag, value in (("Name", name), ("Type", kind), ("Usage", use)):
            ElementTree.SubElement(field, tag).text = str(value)
    for value, count in enumerate(counts):
        rgba = (*PALETTE[MaskClass(value)], 255) if value else (0, 0, 0, 0)
        ElementTree.SubElement(colours, "Entry", {f"c{i}": str(c) for i, c in enumerate(rgba, 1)})
        ElementTree.SubElement(names, "Category").text = class_name(value)
        row = ElementTree.SubElement(table, "Row", index=str(value))
        for cell in (value, class_name(value), int(count), *rgba):
            ElementTree.SubElement(row, "F").text = str(cell)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def shares(counts: NDArray[np.int64]) -> str:
    """Classes in per cent of the pixels with data, the largest first, and the per cent without data."""
    seen = counts[1:].sum()
    order = [v for v in 1 + np.argsort(-counts[1:], kind="stable") if counts[v]]
    parts = [f"{100 * counts[v] / seen:.1f} % {class_name(int(v))}" for v in order]
    if counts[0]:
        parts.append(f"{100 * counts[0] / counts.sum():.1f} % of all pixels no data")
    return ", ".join(parts)


def require_reflectance(
    numbers: NDArray[np.generic], rho: NDArray[np.float32], scale: float, offset: float
) -> None:
    """Refuses numbers that cannot be what scale and offset say.

    Args:
        numbers: (band, row, col) as the file holds them, or a sample of them.
        rho: the reflectance that they are said to be, NaN without data.

    Raises:
        InvalidRequest: they are far too dark or too bright for any picture; the message names the option to give.
    """
    held = rho[np.isfinite(rho)]
    if not held.size:
        return
    top, half = float(np.percentile(held, 99.9)), float(np.median(held))
    darkest = DARKEST_OF_BYTES if numbers.dtype == np.uint8 else DARKEST
    if darkest <= top and half <= BRIGHTEST and half >= LOWEST:
        return
    if half < LOWEST:
        raise InvalidRequest(
            f"--offset {offset:g}: half of the pixels would have a reflectance below {half:.3f}; leave it out, or give the"
            " product's own (-0.1 since baseline 04.00)"
        )
    brightest, middle = (top - offset) / scale, (half - offset) / scale
    scales = OF_BYTES if numbers.dtype == np.uint8 else SCALES
    fitting = [s for s in scales if brightest * s > 0.05 and middle * s < 1 and brightest * s < BRIGHTEST]
    better = f"--scale {fitting[0]:.6g}" if fitting else "--scale and --offset of the file"
    raise InvalidRequest(
        f"--scale {scale:g}: the brightest pixels, {brightest:.4g}, would have a reflectance of {top:.4g} and half of all pixels"
        f" {half:.4g} or less, which no picture has; give {better}"
    )
