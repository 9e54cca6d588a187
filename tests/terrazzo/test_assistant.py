"""What an assistant is answered that the sample's place and days do not show; tests/clients/test_mcp.py has the rest."""

import json
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from terrazzo.assistant import Tools, clear_days
from terrazzo.mosaic.zone import LAST

FIJI = [177.0, -19.0, -178.0, -16.0]
"""A mosaic's box over the antimeridian, as STAC has it."""


@pytest.fixture
def address():
    """Of a server whose only mosaic is Fiji."""
    mosaics = {"collections": [{"id": "fiji", "extent": {"spatial": {"bbox": [FIJI]}}}]}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(mosaics).encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("box", "touches"),
    [
        ([-179.5, -18, -179, -17], True),
        ([178, -18, -179, -17], True),
        ([178, -18, 179, -17], True),
        ([-170, -18, -160, -17], False),
        ([0, -18, 10, -17], False),
    ],
)
def test_mosaics_over_the_antimeridian_are_listed_for_boxes_that_touch_them(address, box, touches):
    listed = Tools(address, None).list_mosaics(box)
    assert [m["mosaic"] for m in listed] == (["fiji"] if touches else [])


def test_a_day_that_shows_as_a_last_resort_is_not_clear():
    weights = {"2023-07-01": 0, "2023-07-02": LAST, "2023-07-03": LAST + 1, "2023-07-04": 255}
    account = {"candidates": [{"datetime": f"{d}T10:00:00Z", "weight": w} for d, w in weights.items()]}
    assert clear_days(account) == {date(2023, 7, 3), date(2023, 7, 4)}
