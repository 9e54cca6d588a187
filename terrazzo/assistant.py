"""The mosaics of a server for assistants that speak the Model Context Protocol. Needs `terrazzo[mcp]`."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from functools import wraps
from typing import Any

from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from terrazzo.client import Client
from terrazzo.errors import InvalidRequest, NotFound, TerrazzoError
from terrazzo.grid import Bounds
from terrazzo.mosaic.zone import LAST
from terrazzo.request.boxes import box_of, numbers_of_box, touch

WHAT = (
    "Cloud-free Sentinel-2 mosaics: surface reflectance (0 to 1) of bands such as B04 or of an expression such as"
    " (B08-B04)/(B08+B04). Ask list_mosaics first. Times are days (2023-08-15), months, years or intervals with /."
)
NEAREST = 5
"""Days that are named where a day has nothing."""
PERIODS = 6
"""Periods that are looked through for them, those nearest to the day first."""
WIDEST = 1024
"""Pixels a side of a picture."""


def server(url: str, key: str | None) -> MCPServer:
    """The tools over the mosaics of a server.

    Args:
        url: address of the server, such as http://127.0.0.1:8000.
        key: API key, where the server wants one.
    """
    tools = MCPServer("terrazzo", instructions=WHAT, log_level="WARNING")
    for tool in Tools(url, key).all():
        tools.tool()(_in_words(tool))
    return tools


def _in_words(tool: Callable[..., Any]) -> Callable[..., Any]:
    """A tool whose refusals reach the assistant as they are worded; of other errors it learns nothing."""

    @wraps(tool)
    def answer(**asked: Any) -> Any:
        try:
            return tool(**asked)
        except TerrazzoError as error:
            raise ToolError(str(error)) from None

    return answer


class Tools:
    """What an assistant can ask; the docstrings are what it reads."""

    def __init__(self, url: str, key: str | None) -> None:
        self._url, self._key = url, key

    def all(self) -> tuple[Any, ...]:
        """The tools."""
        return (self.list_mosaics, self.value_at, self.statistics_of, self.picture_of, self.cost_of_export)

    def list_mosaics(self, bbox: Sequence[float] | None = None) -> list[dict[str, Any]]:
        """The mosaics that there are, with extent, periods, bands and styles; with bbox (W, S, E, N) those that touch it."""
        with self._client("") as client:
            documents = client.collections()
        listed = [
            {
                "mosaic": c["id"],
                "title": c.get("title", c["id"]),
                "bbox": c["extent"]["spatial"]["bbox"][0],
                "periods": c.get("terrazzo:periods", []),
                "bands": list(c.get("item_assets", {})),
                "styles": c.get("terrazzo:styles", {}),
            }
            for c in documents
        ]
        if bbox is None:
            return listed
        asked = box_of(numbers_of_box(list(bbox)))
        return [m for m in listed if touch(asked, Bounds(*m["bbox"]))]

    def value_at(
        self,
        mosaic: str,
        longitude: float,
        latitude: float,
        datetime: str | None = None,
        bands: list[str] | None = None,
        expression: str | None = None,
    ) -> dict[str, Any]:
        """Values of a mosaic at a place, and the scene and day they come from.

        Where the time has nothing there, the answer names the nearest days with a clear view (`nearest_days`).
        """
        shown = {"datetime": datetime, "bands": bands, "expression": expression}
        with self._client(mosaic) as client:
            try:
                return client.point(longitude, latitude, **shown)
            except (NotFound, InvalidRequest) as error:
                if datetime is None or "datetime" not in str(error):
                    raise
                days = nearest_days(client, longitude, latitude, datetime)
                return {"nothing": str(error), "nearest_days": days}

    def statistics_of(
        self,
        mosaic: str,
        geometry: dict[str, Any],
        datetime: str | None = None,
        expression: str | None = None,
        bands: list[str] | None = None,
    ) -> dict[str, Any]:
        """Mean, median, spread and counts over a GeoJSON polygon in degrees."""
        feature = {"type": "Feature", "geometry": geometry, "properties": {}}
        with self._client(mosaic) as client:
            answer = client.statistics(feature, datetime=datetime, expression=expression, bands=bands)
        properties: dict[str, Any] = answer["properties"]
        return properties

    def picture_of(
        self, mosaic: str, bbox: list[float], datetime: str | None = None, style: str | None = None
    ) -> Image:
        """A picture of a box (W, S, E, N in degrees), its longer side 1024 pixels at most; styles as list_mosaics names them."""
        with self._client(mosaic) as client:
            data = client.picture(numbers_of_box(bbox), WIDEST, datetime=datetime, style=style)
        return Image(data=data, format="png")

    def cost_of_export(
        self,
        mosaic: str,
        bbox: list[float],
        datetime: str | None = None,
        bands: list[str] | None = None,
        resolution: float | None = None,
    ) -> dict[str, Any]:
        """What an export of a box as GeoTIFF would cost: pixels, bytes, seconds, scenes. Nothing is written."""
        order = {"bbox": bbox, "datetime": datetime, "bands": bands, "resolution": resolution}
        with self._client(mosaic) as client:
            return client.estimate(**{k: v for k, v in order.items() if v is not None})

    def _client(self, mosaic: str) -> Client:
        return Client(self._url, mosaic, key=self._key)


def nearest_days(client: Client, longitude: float, latitude: float, when: str) -> list[str]:
    """The days nearest to a time on which a place was seen clearly, the nearest first."""
    day = _day_of(when)
    periods = [p for p in client.collection()["terrazzo:periods"] if not p["members"]]
    periods.sort(key=lambda p: _away(day, date.fromisoformat(p["start"]), date.fromisoformat(p["end"])))
    days = set[date]()
    for period in periods[:PERIODS]:
        with suppress(TerrazzoError):
            interval = f"{period['start']}/{period['end']}"
            account = client.explain(longitude, latitude, datetime=interval)
            days |= clear_days(account)
        if len(days) >= NEAREST:
            break
    return [d.isoformat() for d in sorted(days, key=lambda d: abs((d - day).days))[:NEAREST]]


def clear_days(account: Mapping[str, Any]) -> set[date]:
    """The days of an account's scenes that show the place clearly, not as a last resort."""
    return {date.fromisoformat(c["datetime"][:10]) for c in account["candidates"] if c["weight"] > LAST}


def _day_of(when: str) -> date:
    """The first day of a time as `datetime` has it."""
    first = when.split("/")[0].strip(" .") or when.split("/")[-1]
    with suppress(ValueError):
        return date.fromisoformat((first + "-01-01")[:10] if len(first) == 4 else (first + "-01")[:10])
    raise InvalidRequest(f"datetime={when[:30]}: a day such as 2023-08-15, a month, a year, or two with /")


def _away(day: date, start: date, end: date) -> int:
    return max(0, (start - day).days, (day - end).days)
