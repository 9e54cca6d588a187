"""The archives, and all they differ in: one table, and how their files are opened.

Where an archive's numbers carry ESA's addition is never taken from this table: `offset.py` decides by the
product's own metadata, the Item and the pixels. What the table knows it tells the user.
"""

import os
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlparse

from obstore.exceptions import BaseError
from obstore.store import AzureStore, HTTPStore, S3Store

from terrazzo import __version__
from terrazzo.errors import ArchiveError, InvalidRequest

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

Level = Literal["l1c", "l2a"]

CLIENT: "ClientConfig" = {
    # A band is 130 MB, and the whole of it counts: what ends a stalled download is the pause between two reads.
    "timeout": "2h",
    "read_timeout": "60s",
    "connect_timeout": "20s",
    "user_agent": f"terrazzo/{__version__}",
}
RETRY: "RetryConfig" = {
    "max_retries": 2,
    "retry_timeout": timedelta(minutes=3),
    "backoff": {"init_backoff": timedelta(milliseconds=250), "max_backoff": timedelta(seconds=20), "base": 2},
}
"""Of a request, for what passes at once; who is busy longer is given a rest (`Opener.rest`)."""
FIRST_REST, LONGEST_REST = 2.0, 60.0
"""Seconds."""


@dataclass(frozen=True)
class Bucket:
    """How the files below an address are read.

    Attributes:
        prefix: what their addresses begin with.
        signing: `none`, `keys` (from the environment) or `planetary-computer` (tokens that are renewed).
        keys: environment variables that hold the key and the secret; the usual AWS ones are always read.
        requester_pays: the reader's account is billed for the transfer.
    """

    prefix: str
    signing: Literal["none", "keys", "planetary-computer"] = "none"
    region: str = "us-east-1"
    endpoint: str | None = None
    keys: tuple[str, str] | None = None
    requester_pays: bool = False


@dataclass(frozen=True)
class Archive:
    """A STAC API with Sentinel-2, and where its files lie.

    Attributes:
        collections: by level, the preferred first.
        beside: role → path from the granule's folder of files that the archive holds but no Item lists.
        offset: what is known of the numbers; tells the user, decides nothing.
        credentials: what a user needs, in a sentence.
    """

    name: str
    url: str
    collections: Mapping[str, tuple[str, ...]]
    buckets: tuple[Bucket, ...] = ()
    beside: Mapping[str, str] = field(default_factory=dict)
    offset: str = "decided product by product"
    credentials: str = "none"


ARCHIVES: dict[str, Archive] = {
    a.name: a
    for a in (
        Archive(
            "earth-search",
            "https://earth-search.aws.element84.com/v1",
            {"l2a": ("sentinel-2-c1-l2a", "sentinel-2-l2a"), "l1c": ("sentinel-2-l1c",)},
            buckets=(
                Bucket("s3://sentinel-s2-l1c/", "keys", "eu-central-1", requester_pays=True),
                Bucket("s3://sentinel-s2-l2a/", "keys", "eu-central-1", requester_pays=True),
            ),
            offset="of sentinel-2-l2a taken out of the numbers, though Items may claim both",
            credentials="none for L2A; an AWS account that pays for the transfer (AWS_ACCESS_KEY_ID,"
            " AWS_SECRET_ACCESS_KEY) for L1C",
        ),
        Archive(
            "planetary-computer",
            "https://planetarycomputer.microsoft.com/api/stac/v1",
            {"l2a": ("sentinel-2-l2a",)},
            buckets=(Bucket("https://sentinel2l2a01.blob.core.windows.net/", "planetary-computer"),),
            offset="as ESA delivers it: 1000 added since baseline 04.00, which the product metadata tell",
            credentials="none; PC_SDK_SUBSCRIPTION_KEY raises the limits",
        ),
        Archive(
            "cdse",
            "https://stac.dataspace.copernicus.eu/v1",
            {"l2a": ("sentinel-2-l2a",), "l1c": ("sentinel-2-l1c",)},
            buckets=(
                Bucket(
                    "s3://eodata/",
                    "keys",
                    "default",
                    "https://eodata.dataspace.copernicus.eu",
                    ("CDSE_S3_ACCESS_KEY", "CDSE_S3_SECRET_KEY"),
                ),
            ),
            beside={
                "CLDPRB": "QI_DATA/MSK_CLDPRB_20m.jp2",
                "DETFOO": "QI_DATA/MSK_DETFOO_B02.jp2",
                "cams": "AUX_DATA/AUX_CAMSFO",
                "ecmwf": "AUX_DATA/AUX_ECMWFT",
            },
            offset="as ESA delivers it: 1000 added since baseline 04.00, which the product metadata tell",
            credentials="S3 keys of a free account (CDSE_S3_ACCESS_KEY, CDSE_S3_SECRET_KEY)",
        ),
    )
}


def find_archive(name: str, collection: str | None = None) -> Archive:
    """The archive of a name, or one for any STAC API's address.

    Files of an unknown archive at s3:// are signed where AWS_ACCESS_KEY_ID is set, and come from AWS_ENDPOINT_URL
    where that is.

    Raises:
        InvalidRequest: neither a known name nor an address.
    """
    if name in ARCHIVES:
        archive = ARCHIVES[name]
    elif name.startswith(("http://", "https://")):
        archive = Archive(name.rstrip("/"), name, {"l2a": ("sentinel-2-l2a",), "l1c": ("sentinel-2-l1c",)})
    else:
        raise InvalidRequest(f"archive {name!r}: {', '.join(ARCHIVES)}, or the address of a STAC API")
    if collection is None:
        return archive
    return Archive(
        archive.name,
        archive.url,
        {"l2a": (collection,), "l1c": (collection,)},
        archive.buckets,
        archive.beside,
        archive.offset,
        archive.credentials,
    )


class Opener:
    """Opens the buckets of an archive, each once, from any thread; and knows whether the archive answers.

    An archive that is busy or away is given a rest by all downloads at once, twice as long each time. obstore shows no
    Retry-After; the rests together are longer than what archives ask for.

    Attributes:
        away: what the last of the attempts told, once the archive is given up.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.away: str | None = None
        self._lock = threading.Lock()
        self._open: dict[str, Any] = {}
        self._rests, self._until, self._answered = 0, 0.0, 0.0

    def wait(self, stop: threading.Event) -> None:
        """Waits while the archive rests."""
        stop.wait(max(0.0, self._until - time.monotonic()))

    def rest(self) -> None:
        """Gives the archive a rest, unless it has one."""
        with self._lock:
            now = time.monotonic()
            if now >= self._until:
                longest = min(LONGEST_REST, FIRST_REST * 2**self._rests)
                self._until, self._rests = now + longest * random.uniform(0.75, 1), self._rests + 1

    def answered(self) -> None:
        """Notes that the archive gives files."""
        with self._lock:
            self._rests, self._answered = 0, time.monotonic()

    def give_up(self, since: float, reason: str) -> None:
        """Gives the archive up, unless it has given another file since a moment of the monotonic clock."""
        with self._lock:
            if self._answered < since:
                self.away = reason

    def open(self, href: str) -> tuple[Any, str]:
        """The store a file lies in, and its key there.

        Raises:
            ArchiveError: the address cannot be read, or keys are missing.
        """
        root, key = _split(href)
        with self._lock:
            if root not in self._open:
                self._open[root] = self._store(href, root)
            return self._open[root], key

    def forget(self, href: str) -> None:
        """Opens a file's bucket anew at the next use: a token may have run out."""
        with self._lock:
            self._open.pop(_split(href)[0], None)

    def refused(self, href: str) -> str:
        """What to tell a user whom the archive refuses a file."""
        return f"{self.archive.name} refuses {href}; it needs: {self.archive.credentials}"

    def _store(self, href: str, root: str) -> Any:
        bucket = next((b for b in self.archive.buckets if href.startswith(b.prefix)), None)
        try:
            if root.startswith("s3://"):
                return _s3(root.removeprefix("s3://"), bucket, self.archive)
            if bucket is not None and bucket.signing == "planetary-computer":
                from obstore.auth.planetary_computer import PlanetaryComputerCredentialProvider

                # An endpoint of one's own, an emulator's say, may be without TLS.
                plain = os.environ.get("AZURE_STORAGE_ENDPOINT", "").startswith("http://")
                return AzureStore(
                    credential_provider=PlanetaryComputerCredentialProvider(root),
                    client_options={**CLIENT, "allow_http": plain},
                    retry_config=RETRY,
                )
            return HTTPStore(
                root, client_options={**CLIENT, "allow_http": root.startswith("http://")}, retry_config=RETRY
            )
        except (BaseError, ValueError) as error:
            raise ArchiveError(f"{href} cannot be opened: {error}") from None


def _split(href: str) -> tuple[str, str]:
    """Address of a bucket, container or host, and the key in it."""
    url = urlparse(href)
    key = unquote(url.path).lstrip("/")
    if url.scheme not in ("s3", "http", "https") or not url.netloc or not key:
        raise ArchiveError(f"{href} is no address of a file (s3://, https://)")
    if url.netloc.endswith(".blob.core.windows.net"):
        container, _, key = key.partition("/")
        return f"https://{url.netloc}/{container}", key
    return f"{url.scheme}://{url.netloc}", key


def _s3(name: str, bucket: Bucket | None, archive: Archive) -> S3Store:
    options: dict[str, Any] = {"client_options": dict(CLIENT), "retry_config": RETRY}
    given = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    keys = _keys(bucket)
    if bucket is None:
        if given:
            options |= {"endpoint": given, "virtual_hosted_style_request": False}
            options["client_options"]["allow_http"] = given.startswith("http://")
        options["region"] = os.environ.get("AWS_REGION", "us-east-1")
    else:
        options |= {"region": bucket.region, "request_payer": bucket.requester_pays}
        if bucket.endpoint:
            options |= {"endpoint": bucket.endpoint, "virtual_hosted_style_request": False}
        if bucket.signing == "keys" and keys is None:
            raise ArchiveError(f"{archive.name} wants keys: {archive.credentials}")
    if keys is None:
        options["skip_signature"] = True
    else:
        options |= {"access_key_id": keys[0], "secret_access_key": keys[1]}
        if keys[2]:
            options["session_token"] = keys[2]
    return S3Store(name, **options)


def _keys(bucket: Bucket | None) -> tuple[str, str, str | None] | None:
    own = bucket.keys if bucket else None
    for key, secret in (*((own,) if own else ()), ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")):
        if os.environ.get(key) and os.environ.get(secret):
            token = os.environ.get("AWS_SESSION_TOKEN") if key.startswith("AWS_") else None
            return os.environ[key], os.environ[secret], token
    return None
