"""Lists of Items page by page, as APIs write them: all arrive, or it is said; no list is no empty list, and circles end."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

from terrazzo.errors import ArchiveError
from terrazzo.precompute.acquire.archives import find_archive
from terrazzo.precompute.acquire.area import from_box
from terrazzo.precompute.acquire.search import Query, items_of

CONFORMS = ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"]
Answer = tuple[int, dict[str, str], Any]
Search = Callable[[str, int], Answer]
"""What the API at an address answers to the question for the page that begins with a number."""
ALL, PAGE = 5, 2
QUERY = Query(from_box(15, 45, 16, 46))


def page(begin: int, **more: Any) -> dict[str, Any]:
    items = [{"type": "Feature", "id": f"S2_{k}"} for k in range(begin, min(begin + PAGE, ALL))]
    return {"type": "FeatureCollection", "features": items, "links": [], **more}


@contextmanager
def api(search: Search, conforms: Any = CONFORMS) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            at = urlparse(self.path)
            if at.path == "/search":
                return self._answer(search(root, int(parse_qs(at.query).get("token", ["0"])[0])))
            links = [{"rel": "search", "href": f"{root}/search", "type": "application/geo+json"}]
            landing = {"type": "Catalog", "id": "x", "description": "x", "stac_version": "1.0.0"}
            return self._answer((200, {}, landing | {"conformsTo": conforms, "links": links}))

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(search(root, int(asked.get("token", 0))))

        def _answer(self, answer: Answer) -> None:
            status, headers, document = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    root = f"http://127.0.0.1:{server.server_port}"
    running = threading.Thread(target=server.serve_forever, args=(0.05,))
    running.start()
    try:
        yield root
    finally:
        server.shutdown()
        running.join()
        server.server_close()


def listed(root: str, notes: list[str] | None = None) -> list[str]:
    lines = [] if notes is None else notes
    return [item["id"] for item in items_of(find_archive(root), QUERY, note=lines.append)]


def link(root: str, begin: int, how: str) -> dict[str, Any]:
    if how == "post":
        return {"rel": "next", "method": "POST", "href": f"{root}/search", "body": {"token": begin}}
    if how == "merge":
        return link(root, begin, "post") | {"merge": True}
    return {"rel": "next", "href": f"{root if how == 'get' else ''}/search?token={begin}"}


@pytest.mark.parametrize("how", ["post", "merge", "get", "address without host"])
def test_the_next_page_is_fetched_however_its_link_is_written(how: str) -> None:
    def search(root: str, begin: int) -> Answer:
        more = begin + PAGE < ALL
        return 200, {}, page(begin, links=[link(root, begin + PAGE, how)] if more else [])

    with api(search) as root:
        assert listed(root) == [f"S2_{k}" for k in range(ALL)]


def test_pages_that_go_in_circles_end_with_an_error() -> None:
    def search(root: str, begin: int) -> Answer:
        return 200, {}, page(0, links=[link(root, PAGE, "merge")])

    with api(search) as root, pytest.raises(ArchiveError, match="in circles: after 2 Items the same"):
        listed(root)


def test_a_last_page_that_leads_to_the_first_is_the_last_where_all_are_there() -> None:
    def search(root: str, begin: int) -> Answer:
        after = begin + PAGE if begin + PAGE < ALL else 0
        return 200, {}, page(begin, links=[link(root, after, "merge")], numberMatched=ALL)

    with api(search) as root:
        assert listed(root) == [f"S2_{k}" for k in range(ALL)]


@pytest.mark.parametrize("count", [{"numberMatched": ALL}, {"context": {"matched": ALL}}])
def test_fewer_items_than_match_are_not_taken_for_all(count: dict[str, Any]) -> None:
    notes: list[str] = []
    with api(lambda root, begin: (200, {}, page(begin, **count))) as root:
        assert len(listed(root, notes)) == PAGE
    assert notes == [f"{root} says that 5 Items match, and lists 2 of them"]


@pytest.mark.parametrize("document", [{"message": "log in"}, [], {"features": None}])
def test_what_is_no_list_of_items_is_not_taken_for_an_empty_one(document: Any) -> None:
    with (
        api(lambda root, begin: (200, {}, document)) as root,
        pytest.raises(ArchiveError, match="no list of Items"),
    ):
        listed(root)


def test_an_archive_that_asks_for_an_hour_is_not_waited_for() -> None:
    with (
        api(lambda root, begin: (429, {"Retry-After": "3600"}, {})) as root,
        pytest.raises(ArchiveError, match="asks to come back in 60 minutes"),
    ):
        listed(root)


def test_an_archive_that_asks_for_a_second_is_waited_for_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers = [(429, {"Retry-After": "1"}, {}), (200, {}, page(0))]
    with api(lambda root, begin: answers.pop(0)) as root:
        assert listed(root) == ["S2_0", "S2_1"]
    assert "asked again in 1 s" in caplog.text


def test_a_catalogue_that_has_no_search_is_an_error_of_that_archive() -> None:
    with (
        api(lambda root, begin: (200, {}, page(0)), conforms=[]) as root,
        pytest.raises(ArchiveError, match="does not answer the search"),
    ):
        listed(root)


def test_an_error_without_words_names_its_status() -> None:
    with api(lambda root, begin: (404, {}, {})) as root, pytest.raises(ArchiveError, match="status 404"):
        listed(root)
