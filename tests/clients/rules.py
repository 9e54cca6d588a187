"""What a WMTS document has to be beyond well-formed: OGC's schema, and rules that a schema cannot say.

The schemas are those that MapProxy ships for its own tests; none is copied here, and none is fetched from the network.
"""

import re
from functools import cache
from importlib.resources import files
from typing import Any

from lxml import etree

N = {
    "w": "http://www.opengis.net/wmts/1.0",
    "o": "http://www.opengis.net/ows/1.1",
    "x": "http://www.w3.org/1999/xlink",
}
SCALES = {"GoogleMapsCompatible": 559082264.0287178, "GoogleCRS84Quad": 559082264.0287178}
"""First scale denominator of the well-known scale sets, OGC 07-057r7 annex E."""
Element = Any


@cache
def schema() -> etree.XMLSchema:
    """The schema of capabilities documents, with OGC's erratum of 2011-05-05: rows and columns of limits begin at 0."""
    path = files("mapproxy") / "test/schemas/wmts/1.0/wmtsGetCapabilities_response.xsd"
    text, changed = re.subn(
        r'(name="M(?:in|ax)Tile(?:Row|Col)" type=")positiveInteger',
        r"\1nonNegativeInteger",
        path.read_text(),
    )
    assert changed == 4
    offline = etree.XMLParser(no_network=True)
    return etree.XMLSchema(etree.fromstring(text.encode(), offline, base_url=str(path)))


def text(element: Element, path: str) -> str:
    """Stripped text at a path, "" where there is none."""
    return (element.findtext(path, namespaces=N) or "").strip()


def broken(document: bytes) -> list[str]:
    """What is wrong with a capabilities document, in words; empty if nothing is."""
    root = etree.fromstring(document, etree.XMLParser(no_network=True))
    found = [] if schema().validate(root) else [f"schema: {e.message}" for e in schema().error_log]
    layers = root.findall("w:Contents/w:Layer", N)
    sets = root.findall("w:Contents/w:TileMatrixSet", N)
    by_name = {text(s, "o:Identifier"): s for s in sets}
    if text(root, "o:ServiceIdentification/o:ServiceType") != "OGC WMTS":
        found.append("ServiceType is not OGC WMTS")
    if not layers:
        found.append("no Layer")
    found += [f"layers: {p}" for p in repeated(layers)] + [f"sets: {p}" for p in repeated(sets)]
    for layer in layers:
        name = text(layer, "o:Identifier")
        found += [f"layer {name}: {p}" for p in broken_layer(layer, by_name)]
    for name, matrix_set in by_name.items():
        found += [f"set {name}: {p}" for p in broken_set(matrix_set)]
    used = {text(k, "w:TileMatrixSet") for k in root.iterfind(".//w:TileMatrixSetLink", N)}
    if used != set(by_name):
        found.append(f"sets linked {sorted(used)}, described {sorted(by_name)}")
    operations = {o.get("name") for o in root.iterfind("o:OperationsMetadata/o:Operation", N)}
    if not {"GetCapabilities", "GetTile", "GetFeatureInfo"} <= operations:
        found.append(f"operations {sorted(operations)}")
    if root.find("w:ServiceMetadataURL", N) is None:
        found.append("no ServiceMetadataURL")
    return found


def repeated(elements: list[Element]) -> list[str]:
    """Identifiers that occur twice."""
    names = [text(e, "o:Identifier") for e in elements]
    return [f"{n} occurs twice" for n in sorted(set(names)) if names.count(n) > 1]


def broken_layer(layer: Element, sets: dict[str, Element]) -> list[str]:
    """What is wrong with a layer."""
    found = []
    name = text(layer, "o:Identifier")
    if re.search(r"[/\\?#&=\s%:]", name):
        found.append("its identifier needs escaping in an address")
    links = layer.findall("w:TileMatrixSetLink", N)
    for link in links:
        found += broken_limits(link, sets)
    styles = layer.findall("w:Style", N)
    found += repeated(styles)
    if sum(s.get("isDefault") in ("true", "1") for s in styles) != 1:
        found.append("not exactly one default style")
    dimensions = layer.findall("w:Dimension", N)
    for dimension in dimensions:
        values = [(v.text or "").strip() for v in dimension.findall("w:Value", N)]
        if text(dimension, "w:Default") not in [*values, "current", "default"]:
            found.append(f"the default of {text(dimension, 'o:Identifier')} is none of its values")
    corners = [text(layer, f"o:WGS84BoundingBox/o:{c}Corner").split() for c in ("Lower", "Upper")]
    if not all(len(c) == 2 for c in corners):
        found.append("no WGS84BoundingBox, to which QGIS and ArcGIS zoom")
    else:
        (west, south), (east, north) = (map(float, c) for c in corners)
        if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
            found.append(f"WGS84BoundingBox {corners}")
    needed = {"TileMatrix", "TileRow", "TileCol"} | ({"TileMatrixSet"} if len(links) > 1 else set())
    needed |= {text(d, "o:Identifier") for d in dimensions} | ({"Style"} if len(styles) > 1 else set())
    formats = {f.text for f in layer.findall("w:Format", N)}
    for resource in layer.findall("w:ResourceURL", N):
        template, kind = resource.get("template"), resource.get("resourceType")
        have = {v.lower() for v in re.findall(r"\{(\w+)\}", template)}
        lacking = {
            v for v in needed | ({"I", "J"} if kind == "FeatureInfo" else set()) if v.lower() not in have
        }
        if lacking:
            found.append(f"{kind} template lacks {sorted(lacking)}")
        if template.endswith("?") or "None" in template:
            found.append(f"template {template}")
        if kind == "tile" and resource.get("format") not in formats:
            found.append(f"{resource.get('format')} is no Format of it")
    kinds = {r.get("resourceType") for r in layer.findall("w:ResourceURL", N)}
    if not {"tile", "FeatureInfo"} <= kinds or layer.find("w:InfoFormat", N) is None:
        found.append("no template of tiles or of what is at a pixel")
    return found


def broken_limits(link: Element, sets: dict[str, Element]) -> list[str]:
    """Limits outside their matrix, or of a matrix or set that is not there."""
    name = text(link, "w:TileMatrixSet")
    if name not in sets:
        return [f"link to the unknown set {name}"]
    sizes = {
        text(m, "o:Identifier"): (int(text(m, "w:MatrixHeight")), int(text(m, "w:MatrixWidth")))
        for m in sets[name].findall("w:TileMatrix", N)
    }
    found = []
    for limits in link.iterfind("w:TileMatrixSetLimits/w:TileMatrixLimits", N):
        matrix = text(limits, "w:TileMatrix")
        if matrix not in sizes:
            found.append(f"{name}: limits of the unknown matrix {matrix}")
            continue
        for axis, size in zip(("Row", "Col"), sizes[matrix], strict=True):
            low, high = (int(text(limits, f"w:{end}Tile{axis}")) for end in ("Min", "Max"))
            if not 0 <= low <= high < size:
                found.append(f"{name}/{matrix}: {axis} {low} to {high} of {size}")
    return found


def broken_set(matrix_set: Element) -> list[str]:
    """What is wrong with a tile matrix set."""
    matrices = matrix_set.findall("w:TileMatrix", N)
    found = repeated(matrices)
    crs = text(matrix_set, "o:SupportedCRS")
    if not crs.startswith("urn:ogc:def:crs:"):
        found.append(f"SupportedCRS {crs} is no URN, which older ArcGIS wants")
    scales = [float(text(m, "w:ScaleDenominator")) for m in matrices]
    if scales != sorted(set(scales), reverse=True):
        found.append("scales do not fall")
    known = re.split("[:/]", text(matrix_set, "w:WellKnownScaleSet"))[-1]
    # A set in tiles of 512 px has no scale as coarse as the first of the well-known one.
    if crs.endswith(":3857") and not known and text(matrices[0], "w:TileWidth") == "256":
        found.append("web mercator without its well-known scale set")
    if known in SCALES and not any(abs(s * k / SCALES[known] - 1) < 1e-5 for s in scales for k in (1, 2)):
        found.append(f"the first scale of {known} is not there")
    return found
