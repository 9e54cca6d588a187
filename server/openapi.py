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
    found = {k: as_older(v) for k, v in value.items()}
    choices = found.get("anyOf")
    if isinstance(choices, list) and NULL in choices:
        found.pop("anyOf")
        left = [c for c in choices if c != NULL]
        found = {**(left[0] if len(left) == 1 else {"anyOf": left}), **found, "nullable": True}
        if reference := found.pop("$ref", None):
            # Nothing may stand beside a reference.
            found["allOf"] = [{"$ref": reference}]
    if isinstance(kinds := found.get("type"), list):
        of_lists = {k: found.pop(k) for k in ("items", "minItems", "maxItems") if k in found}
        found["anyOf"] = [{"type": kind, **(of_lists if kind == "array" else {})} for kind in kinds]
        del found["type"]
    if "const" in found:
        found["enum"] = [found.pop("const")]
    if isinstance(found.get("examples"), list):
        found["example"] = found.pop("examples")[0]
    for bound, plain in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(found.get(bound), int | float) and not isinstance(found[bound], bool):
            found |= {plain: found[bound], bound: True}
    if isinstance(items := found.pop("prefixItems", None), list):
        found["items"] = {"anyOf": items}
    # The last one is a misprint in a model of titiler.core.
    for newer in ("propertyNames", "contentMediaType", "contentEncoding", "exemples"):
        found.pop(newer, None)
    return found
