"""What the STAC extensions that our documents name demand of the fields we write.

No package of the index ships the extensions' schemas, and tests need nothing else; so their tables of fields stand here as JSON
schemas of our own. A field that is not listed is one that we do not write, or one that the extension does not have.
"""

from collections.abc import Iterator
from typing import Any

import jsonschema

TEXT, NUMBER = {"type": "string"}, {"type": "number"}
COUNT = {"type": "integer", "minimum": 1}
OWN = "terrazzo"


def between(low: float, high: float) -> dict[str, Any]:
    """Schema of a number from low to high."""
    return {"type": "number", "minimum": low, "maximum": high}


FIELDS: dict[str, dict[str, Any]] = {
    "eo:cloud_cover": between(0, 100),
    "eo:common_name": {
        "enum": [
            "coastal",
            "blue",
            "green",
            "red",
            "rededge071",
            "rededge075",
            "rededge078",
            "nir",
            "nir08",
            "nir09",
            "cirrus",
            "swir16",
            "swir22",
        ]
    },
    "eo:center_wavelength": {"type": "number", "exclusiveMinimum": 0},
    "eo:full_width_half_max": {"type": "number", "exclusiveMinimum": 0},
    "file:checksum": {"type": "string", "pattern": "^[a-f0-9]+$"},
    "file:size": {"type": "integer", "minimum": 0},
    "grid:code": {"type": "string", "pattern": "^[A-Z0-9]+-[-_.A-Za-z0-9]+$"},
    "processing:level": TEXT,
    "processing:lineage": TEXT,
    "processing:software": {"type": "object", "additionalProperties": TEXT},
    "proj:code": {"type": "string", "pattern": "^EPSG:[0-9]+$"},
    "proj:shape": {"type": "array", "items": COUNT, "minItems": 2, "maxItems": 2},
    "proj:transform": {"type": "array", "items": NUMBER, "minItems": 6, "maxItems": 9},
    "raster:offset": NUMBER,
    "raster:sampling": {"enum": ["area", "point"]},
    "raster:scale": NUMBER,
    "raster:spatial_resolution": {"type": "number", "exclusiveMinimum": 0},
    "sat:relative_orbit": COUNT,
    "view:azimuth": between(0, 360),
    "view:off_nadir": between(0, 90),
    "view:sun_azimuth": between(0, 360),
    "view:sun_elevation": between(-90, 90),
}
RENDERS = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "required": ["assets"],
        "properties": {
            "title": TEXT,
            "expression": TEXT,
            "colormap_name": TEXT,
            "color_formula": TEXT,
            "assets": {"type": "array", "minItems": 1, "items": TEXT},
            "rescale": {"type": "array", "items": {"type": "array", "items": NUMBER, "minItems": 2}},
        },
        "additionalProperties": False,
    },
}
PREFIXES = {"projection": "proj"}
"""Extensions whose fields begin with another word than their name."""


def fields(document: Any) -> Iterator[tuple[str, Any]]:
    """Every field with a prefix, at any depth but in values of our own fields."""
    if isinstance(document, list):
        for part in document:
            yield from fields(part)
    elif isinstance(document, dict):
        for name, value in document.items():
            if ":" in name and " " not in name:
                yield name, value
            elif name not in ("href", "links"):
                yield from fields(value)


def check_extensions(document: dict[str, Any]) -> None:
    """Raises what is wrong with the fields of extensions, or with the list of extensions.

    Raises:
        jsonschema.ValidationError: a value that its extension does not allow.
        AssertionError: a field of no extension that the document names, or a named extension without a field.
    """
    named = {u.split("/")[3] for u in document["stac_extensions"]}
    seen = {"render"} if "renders" in document else set()
    if seen:
        jsonschema.Draft7Validator(RENDERS).validate(document["renders"])
    for name, value in fields(document):
        prefix = name.split(":")[0]
        if prefix != OWN:
            assert name in FIELDS, f"{name} is in no table of an extension"
            jsonschema.Draft7Validator(FIELDS[name]).validate(value)
            seen.add(next((k for k, v in PREFIXES.items() if v == prefix), prefix))
    assert seen == named, f"fields of {sorted(seen)}, named {sorted(named)}"
