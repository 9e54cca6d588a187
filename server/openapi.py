"""The description of the endpoints as OpenAPI 3.0, the form that OGC's standards name."""

from typing import Any

VERSION = "3.0.3"
MEDIA = "application/vnd.oai.openapi+json;version=3.0"
NULL = {"type": "null"}


def as_older(value: Any) -> Any:
    """A description that FastAPI wrote for OpenAPI 3.1, in the words of 3.0."""
    if isinstance(value, list):
        return [as_older(v) for v in value]
    if not isinstance(value, dict):
        return value
    older = {k: as_older(v) for k, v in value.items()}
    choices = older.get("anyOf")
    if isinstance(choices, list) and NULL in choices:
        older.pop("anyOf")
        left = [c for c in choices if c != NULL]
        older = {**(left[0] if len(left) == 1 else {"anyOf": left}), **older, "nullable": True}
        if reference := older.pop("$ref", None):
            # Nothing may stand beside a reference.
            older["allOf"] = [{"$ref": reference}]
    if isinstance(kinds := older.get("type"), list):
        of_lists = {k: older.pop(k) for k in ("items", "minItems", "maxItems") if k in older}
        older["anyOf"] = [{"type": kind, **(of_lists if kind == "array" else {})} for kind in kinds]
        del older["type"]
    if "const" in older:
        older["enum"] = [older.pop("const")]
    if isinstance(older.get("examples"), list):
        older["example"] = older.pop("examples")[0]
    for bound, plain in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(older.get(bound), int | float) and not isinstance(older[bound], bool):
            older |= {plain: older[bound], bound: True}
    if isinstance(items := older.pop("prefixItems", None), list):
        older["items"] = {"anyOf": items}
    # The last one is a misprint in a model of titiler.core.
    for newer in ("propertyNames", "contentMediaType", "contentEncoding", "exemples"):
        older.pop(newer, None)
    return older
