"""QGIS lists, renders and identifies layers; run by Debian's Python without a screen, prints what it saw as JSON.

usage: qgis_wmts.py FOLDER QUESTION; QUESTION is JSON with any of
    capabilities, layer (regular expression over QGIS's addresses of layers), tms, time; xyz, zmax; raster; qlr; box [W, S, E, N]; crs [code, …]
`entries` counts the lines of the data source manager; of each rendering `filled` is the share that is not blank.
"""

import json
import os
import re
import sys
from pathlib import Path
from urllib.parse import quote

FOLDER, QUESTION = sys.argv[1], json.loads(sys.argv[2])
# A home of its own: no settings and no tiles of an earlier run.
home = Path(FOLDER, "home")
home.mkdir(mode=0o700)
os.environ |= {"QT_QPA_PLATFORM": "offscreen", "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
os.environ |= {f"XDG_{k}_HOME": str(home / k.lower()) for k in ("CACHE", "DATA", "CONFIG")}

from qgis.core import (  # noqa: E402
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsLayerDefinition,
    QgsLayerItem,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsNetworkAccessManager,
    QgsNetworkReplyContent,
    QgsPointXY,
    QgsProject,
    QgsRaster,
    QgsRasterBandStats,
    QgsRasterDataProvider,
    QgsRasterLayer,
    QgsRectangle,
    QgsSettings,
)
from qgis.PyQt.QtCore import QEventLoop, QSize  # noqa: E402
from qgis.PyQt.QtGui import QColor  # noqa: E402
from qgis.PyQt.QtNetwork import QNetworkReply, QNetworkRequest  # noqa: E402

QgsApplication.setPrefixPath("/usr", True)
application = QgsApplication([], True, str(home))
application.initQgis()
seen = {"failed": [], "renders": [], "identified": {}}


def ended(reply):
    status = reply.attribute(QNetworkRequest.HttpStatusCodeAttribute) or 0
    fine = reply.error() in (QNetworkReply.NoError, QNetworkReply.OperationCanceledError)
    if not fine or status >= 400:
        seen["failed"].append(f"{status} {reply.errorString()} {reply.request().url().toString()}")


QgsNetworkAccessManager.instance().finished[QgsNetworkReplyContent].connect(ended)


def system(code):
    return QgsCoordinateReferenceSystem(code)


def moved(source, target):
    return QgsCoordinateTransform(source, target, QgsProject.instance())


def render(layer, code, name):
    """Draws a layer in a coordinate system, and notes how much of the picture is filled."""
    QgsProject.instance().addMapLayer(layer)
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(system(code))
    settings.setOutputSize(QSize(700, 700))
    settings.setBackgroundColor(QColor(255, 255, 255, 0))
    settings.setTransformContext(QgsProject.instance().transformContext())
    box = QUESTION.get("box")
    source, extent = (system("EPSG:4326"), QgsRectangle(*box)) if box else (layer.crs(), layer.extent())
    settings.setExtent(moved(source, system(code)).transformBoundingBox(extent))
    job, loop = QgsMapRendererParallelJob(settings), QEventLoop()
    job.finished.connect(loop.quit)
    job.start()
    loop.exec_()
    picture = job.renderedImage()
    picture.save(f"{FOLDER}/{name}_{code.replace(':', '')}.png")
    pixels = [picture.pixelColor(x, y) for y in range(0, 700, 7) for x in range(0, 700, 7)]
    opaque = [p.rgb() for p in pixels if p.alpha() > 0]
    seen["renders"].append(
        {
            "what": f"{name} {code}",
            "filled": len(opaque) / len(pixels),
            "colours": len(set(opaque)),
            "errors": [e.message for e in job.errors()],
        }
    )


def identify(layer):
    """What QGIS's Identify Features tells at the middle, in each format that the provider offers."""
    west, south, east, north = QUESTION["box"]
    middle = QgsPointXY((west + east) / 2, (south + north) / 2)
    at = moved(system("EPSG:4326"), layer.crs()).transform(middle)
    around = QgsRectangle(at.x() - 2000, at.y() - 2000, at.x() + 2000, at.y() + 2000)
    provider = layer.dataProvider()
    for name in ("Text", "Html", "Feature"):
        kind = getattr(QgsRaster, f"IdentifyFormat{name}")
        if provider.capabilities() & QgsRasterDataProvider.identifyFormatToCapability(kind):
            told = provider.identify(at, kind, around, 400, 400)
            # QGIS calls an answer valid that it could not read: what counts is that something is in it.
            seen["identified"][name] = bool(told.isValid() and any(told.results().values()))


KEPT = []
"""Items of the data source manager: QGIS crashes over children whose parent Python has let go."""


def listed(address):
    """Addresses of layers, one for each line that QGIS's data source manager shows of a service."""
    QgsSettings().setValue("qgis/connections-wms/tests/url", address)
    registry = QgsApplication.dataItemProviderRegistry()
    provider = next(p for p in registry.providers() if p.name() == "WMS")
    KEPT.append(provider.createDataItem("wms:/tests", None))
    for item in KEPT:
        KEPT.extend(item.children() or item.createChildren() or [])
    return [i.uri() for i in KEPT if isinstance(i, QgsLayerItem)]


def wmts():
    entries = listed(QUESTION["capabilities"])
    seen["entries"] = len(entries)
    tms = f"tileMatrixSet={QUESTION['tms']}" if "tms" in QUESTION else ""
    address = next(e for e in entries if re.search(QUESTION["layer"], e) and tms in e)
    if "time" in QUESTION:
        time = "tileDimensions=" + quote(f"Time={QUESTION['time']}", safe="=")
        plain = re.sub("&?tileDimensions=[^&]*", "", address)
        address = f"{plain}&{time}"
    layer = QgsRasterLayer(address, "wmts", "wms")
    seen["valid"] = layer.isValid()
    for code in QUESTION["crs"]:
        render(layer, code, "wmts")
    identify(layer)


def xyz():
    address = f"type=xyz&url={quote(QUESTION['xyz'], safe=':/{}')}&zmin=0&zmax={QUESTION.get('zmax', 14)}"
    for code in QUESTION["crs"]:
        render(QgsRasterLayer(address, "xyz", "wms"), code, "xyz")


def raster():
    layer = QgsRasterLayer(QUESTION["raster"], "raster")
    about = layer.dataProvider().bandStatistics(1, QgsRasterBandStats.Min | QgsRasterBandStats.Max)
    seen["raster"] = {
        "valid": layer.isValid(),
        "bands": layer.bandCount(),
        "crs": layer.crs().authid(),
        "low": about.minimumValue,
        "high": about.maximumValue,
    }
    render(layer, layer.crs().authid(), "raster")


def definition():
    """What QGIS makes of a layer definition file: its layers with what they show and when, in the order of the panel."""
    project = QgsProject.instance()
    good, problem = QgsLayerDefinition.loadLayerDefinition(QUESTION["qlr"], project, project.layerTreeRoot())
    seen["qlr"] = {"good": good, "problem": problem, "layers": []}
    for node in project.layerTreeRoot().findLayers():
        layer = node.layer()
        when = layer.temporalProperties().fixedTemporalRange()
        days = [d.toUTC().toString("yyyy-MM-dd") for d in (when.begin(), when.end())]
        about = {"name": node.name(), "valid": layer.isValid(), "shown": node.isVisible(), "days": days}
        seen["qlr"]["layers"].append(about)
        if node.isVisible():
            render(layer, "EPSG:3857", node.name().replace("/", "_"))


for part, act in (("capabilities", wmts), ("xyz", xyz), ("raster", raster), ("qlr", definition)):
    if part in QUESTION:
        act()
print(json.dumps(seen), flush=True)
# Qt's own end sometimes crashes without a screen.
os._exit(0)
