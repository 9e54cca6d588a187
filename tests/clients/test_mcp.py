"""`terrazzo mcp` with the SDK's own client over standard input and output, as an assistant starts it."""

import base64
import io
import sys
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from PIL import Image

from terrazzo.client import Client as Mosaic

pytestmark = pytest.mark.clients
PLACE = {"mosaic": "mosaic", "longitude": 15.97, "latitude": 45.81}
BOX = [15.95, 45.8, 15.98, 45.82]
FIELD = {"type": "Polygon", "coordinates": [[[15.95, 45.8], [15.98, 45.8], [15.98, 45.82], [15.95, 45.8]]]}


@pytest.fixture(scope="module")
def answers(address):
    """What the tools answer to one conversation: starting the command is most of the time."""
    questions = {
        "list_mosaics": {},
        "none there": {"bbox": [0, 0, 1, 1]},
        "value_at": {**PLACE, "datetime": "2023-08-15", "bands": ["B04", "B08"]},
        "no day": {**PLACE, "datetime": "2023-08-11"},
        "another year": {**PLACE, "datetime": "2022-07"},
        "nowhere": {"mosaic": "mosaic", "longitude": 1, "latitude": 45.8},
        "statistics_of": {"mosaic": "mosaic", "geometry": FIELD, "bands": ["B04"]},
        "picture_of": {"mosaic": "mosaic", "bbox": BOX},
        "cost_of_export": {"mosaic": "mosaic", "bbox": BOX, "bands": ["B04"]},
    }
    others = {
        "none there": "list_mosaics",
        "no day": "value_at",
        "another year": "value_at",
        "nowhere": "value_at",
    }
    command = str(Path(sys.executable).parent / "terrazzo")
    start = StdioServerParameters(command=command, args=["mcp", "--url", address])

    async def ask():
        async with Client(stdio_client(start)) as client:
            tools = {t.name for t in (await client.list_tools()).tools}
            asked = {q: await client.call_tool(others.get(q, q), a) for q, a in questions.items()}
            return tools, asked

    return anyio.run(ask)


def test_an_assistant_learns_what_it_can_ask(answers):
    tools, asked = answers
    assert tools == {"list_mosaics", "value_at", "statistics_of", "picture_of", "cost_of_export"}
    (mosaic,) = asked["list_mosaics"].structured_content["result"]
    assert (mosaic["mosaic"], mosaic["bands"]) == ("mosaic", ["B02", "B03", "B04", "B08"])
    assert asked["none there"].structured_content["result"] == []


def test_its_numbers_are_those_of_the_server(answers, address):
    asked = answers[1]
    with Mosaic(address) as mosaic:
        own = mosaic.point(15.97, 45.81, datetime="2023-08-15", bands=["B04", "B08"])
        described = mosaic.statistics({"type": "Feature", "geometry": FIELD, "properties": {}}, bands=["B04"])
        cost = mosaic.estimate(bbox=BOX, bands=["B04"])
    assert asked["value_at"].structured_content["values"] == own["values"]
    assert asked["statistics_of"].structured_content["statistics"] == described["properties"]["statistics"]
    assert asked["cost_of_export"].structured_content["pixels"] == cost["pixels"]
    (picture,) = asked["picture_of"].content
    with Image.open(io.BytesIO(base64.b64decode(picture.data))) as opened:
        assert 0 < max(opened.size) <= 1024


def test_where_a_day_has_nothing_the_nearest_days_are_named(answers):
    days = answers[1]["no day"].structured_content["nearest_days"]
    assert days[0] in ("2023-08-10", "2023-08-13")
    assert days == sorted(days, key=lambda d: abs(int(d[-2:]) - 11))
    assert answers[1]["another year"].structured_content["nearest_days"][0] == min(days)
    assert answers[1]["nowhere"].is_error
    assert "no data at 1" in answers[1]["nowhere"].content[0].text
