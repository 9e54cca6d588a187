"""Asks a STAC API for Items, page by page: what passes is tried again, and what is no answer is an error."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlparse

import pystac_client
import requests
import shapely
from pystac import Link
from pystac.errors import STACError
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from pystac_client.warnings import PystacClientWarning
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential
from urllib3 import BaseHTTPResponse, Retry

from terrazzo.errors import ArchiveError
from terrazzo.precompute.acquire.archives import Archive
from terrazzo.precompute.products.links import Unsigned, without_secrets
from terrazzo.precompute.products.values import mapping, number

log = logging.getLogger(__name__)
PAGE = 100
ATTEMPTS = 4
LONGEST_WAIT = 120.0
"""Seconds that an archive may ask us to wait; who asks for more gets an error, not a run that stands still."""
UNSIGNED = Unsigned()
NO_ANSWER = (
    *(APIError, STACError, requests.RequestException, PystacClientWarning),
    *(ValueError, LookupError, TypeError, AttributeError),
)
"""What the library raises at errors, and at answers that are none."""

Note = Callable[[str], None]


class _Patience(Retry):
    """Retries that wait as long as the archive asks, and no longer than a user would."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        seconds: float | None = super().get_retry_after(response)
        if seconds is not None and seconds > LONGEST_WAIT:
            raise ArchiveError(f"it is busy and asks to come back in {seconds / 60:.0f} minutes")
        if seconds:
            log.warning("the archive is busy: the search is asked again in %.0f s", seconds)
        return seconds


def ask(
    archive: Archive,
    collections: Sequence[str],
    *,
    area: shapely.Geometry,
    datetime: str | None,
    max_cloud: float | None,
    files: bool,
    note: Note,
) -> list[dict[str, Any]]:
    """The Items of some collections that an archive lists.

    Args:
        area: in degrees, at most 180° wide each part.
        datetime: interval as STAC writes it.
        max_cloud: per cent; the archive drops cloudier Items where it can.
        files: with their assets; without, where the archive can leave them out, the answer is a tenth as long.
        note: called with a line where the archive lists fewer Items than it says there are.

    Raises:
        ArchiveError: it does not answer, or its answer is no list of Items.
    """
    # It logs each retry, with the whole address.
    logging.getLogger("urllib3.connectionpool").addFilter(UNSIGNED)
    try:
        # The retries of a request end with an answer's headers; a body that breaks off repeats the search.
        for attempt in Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.5, max=20),
            retry=retry_if_exception(_passing),
            reraise=True,
        ):
            with attempt, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                lines: list[str] = []
                io = _Pages(archive, lines.append)
                client = pystac_client.Client.open(archive.url.partition("?")[0], stac_io=io)
                shape = json.loads(shapely.to_geojson(area))
                asked = {"intersects": shape, "datetime": datetime, "limit": PAGE}
                asked |= _cloud_filter(client, max_cloud)
                if not files and client.conforms_to("FIELDS"):
                    asked["fields"] = {"exclude": ["assets"]}
                items = [
                    item
                    for name in collections
                    for item in client.search(collections=[name], **asked).items_as_dicts()
                ]
    except ArchiveError as error:
        raise ArchiveError(f"{archive.name} does not answer the search: {error}") from None
    except NO_ANSWER as error:
        raise ArchiveError(f"{archive.name} does not answer the search: {_short(error)}") from None
    for line in lines:
        note(line)
    return items


class _Pages(StacApiIO):
    """Follows the links from page to page; the library's own way goes in circles, and takes what is no list for an empty one."""

    def __init__(self, archive: Archive, note: Note) -> None:
        retry = _Patience(
            total=6,
            connect=3,
            backoff_factor=0.3,
            backoff_jitter=1.0,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=None,
            respect_retry_after_header=True,
        )
        # What an address of an API asks for, a key say, goes with every request.
        super().__init__(
            max_retries=retry, timeout=60, parameters=dict(parse_qsl(urlparse(archive.url).query))
        )
        self._archive, self._note = archive, note

    def get_pages(
        self, url: str, method: str | None = None, parameters: dict[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """The pages that hold Items.

        Raises:
            ArchiveError: an answer is no list of Items, or the Items of a page came before: then others never come.
        """
        seen: set[str] = set()
        page = self.read_json(url, method=method, parameters=parameters)
        while True:
            items = page.get("features") if isinstance(page, dict) else None
            if not isinstance(items, list):
                raise ArchiveError("its answer is no list of Items; is it the address of a STAC API?")
            new = {str(mapping(i).get("id")) for i in items} - seen
            matched = number(page.get("numberMatched")) or number(mapping(page.get("context")).get("matched"))
            if items and not new:
                if matched and len(seen) >= matched:
                    return
                raise ArchiveError(
                    f"its pages go in circles: after {len(seen)} Items the same come again; ask for fewer days, or name another"
                    " archive"
                )
            seen |= new
            if items:
                yield page
            links = [k for k in map(mapping, page.get("links") or ()) if k.get("rel") == "next"]
            if not items or not links:
                break
            # Some write the next page's address without the host.
            link = Link.from_dict({**links[0], "href": urljoin(url, str(links[0].get("href")))})
            page = self.read_json(link, parameters=parameters)
        if matched and len(seen) < matched:
            self._note(
                f"{self._archive.name} says that {matched:.0f} Items match, and lists {len(seen)} of them"
            )


def _passing(error: BaseException) -> bool:
    """Whether an answer broke off in its body, which the library's own retries do not see."""
    broken = (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)
    return isinstance(error, (*broken, STACError)) or isinstance(error.__context__, broken)


def _cloud_filter(client: pystac_client.Client, max_cloud: float | None) -> dict[str, Any]:
    """Lets the archive drop cloudy Items where it can; `candidate_of` does so in any case."""
    if max_cloud is None:
        return {}
    if client.conforms_to("FILTER"):
        condition = {"op": "<=", "args": [{"property": "eo:cloud_cover"}, max_cloud]}
        return {"filter": condition, "filter_lang": "cql2-json"}
    if client.conforms_to("QUERY"):
        return {"query": {"eo:cloud_cover": {"lte": max_cloud}}}
    return {}


def _short(error: BaseException) -> str:
    status = getattr(error, "status_code", None)
    said = f"{type(error).__name__}: " if isinstance(error, (AttributeError, LookupError, TypeError)) else ""
    said += f"status {status}: " if status else ""
    return without_secrets(" ".join(f"{said}{error}".split()))[:300]
