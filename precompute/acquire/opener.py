"""Opens the files of archives, signed as each wants it, and knows whether an archive answers."""

import os
import random
import re
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import obstore
from obstore.exceptions import BaseError, GenericError, NotFoundError
from obstore.store import AzureStore, HTTPStore, S3Store

from terrazzo import __version__
from terrazzo.errors import ArchiveError
from terrazzo.precompute.acquire.archives import Archive, Bucket
from terrazzo.precompute.products.links import without_query, without_secrets

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

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


class Opener:
    """Opens the buckets of an archive, each once, from any thread; and knows whether the archive answers.

    An archive that is busy or away is given a rest by all downloads at once, twice as long each time. obstore shows no
    Retry-After; the rests together are longer than what archives ask for.

    Attributes:
        away: the message of the last attempt, once the archive is given up.

    A link that carries a signature is used as it is. Where the archive refuses it, it has run out: then the archive's own
    way is tried, if there is one.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.away: str | None = None
        self._lock = threading.Lock()
        self._open: dict[str, Any] = {}
        self._expired: set[str] = set()
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
        if self._is_signed(href):
            url = urlparse(href)
            # The query of a store's address goes with every request, unchanged.
            return self._http(f"{url.scheme}://{url.netloc}/?{url.query}"), unquote(url.path).lstrip("/")
        root, key = _split(href)
        with self._lock:
            if root not in self._open:
                self._open[root] = self._store(href, root)
            return self._open[root], key

    def size(self, href: str) -> int:
        """Bytes of a file.

        Raises:
            BaseError: obstore's own error.
        """
        store, key = self.open(href)
        # A presigned link is good for GET alone.
        if not self._is_signed(href):
            try:
                return int(obstore.head(store, key)["size"])
            except (GenericError, FileNotFoundError, NotFoundError) as error:
                # To obstore a server that refuses HEAD has no such file.
                if not re.search(r"status code: (405|501)\b|Content-Length", str(error)):
                    raise
        return int(obstore.get(store, key, options={"range": (0, 1)}).meta["size"])

    def forget(self, href: str) -> None:
        """Makes the next use open the file's bucket again: a token may have expired."""
        with self._lock:
            if self._is_signed(href):
                self._expired.add(href)
            else:
                self._open.pop(_split(href)[0], None)

    def refused(self, href: str) -> str:
        """The message to a user to whom the archive refuses a file."""
        refusal = f"{self.archive.name} refuses {without_query(href)}; "
        if href in self._expired:
            return f"{refusal}the link's signature may have run out: run again, a new search gives new links"
        if self._bucket(href) is not None:
            return f"{refusal}it needs: {self.archive.credentials}"
        if href.startswith("s3://"):
            return f"{refusal}it needs keys: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return f"{refusal}name another archive after it: --archive {self.archive.name},…"

    def _is_signed(self, href: str) -> bool:
        url = urlparse(href)
        signed = url.scheme in ("http", "https") and bool(url.netloc and url.query and url.path.strip("/"))
        return signed and href not in self._expired

    def _bucket(self, href: str) -> Bucket | None:
        return next((b for b in self.archive.buckets if href.startswith(b.prefix)), None)

    def _http(self, root: str) -> HTTPStore:
        options: ClientConfig = {**CLIENT, "allow_http": root.startswith("http://")}
        return HTTPStore(root, client_options=options, retry_config=RETRY)

    def _store(self, href: str, root: str) -> Any:
        bucket = self._bucket(href)
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
            return self._http(root)
        except (BaseError, ValueError) as error:
            raise ArchiveError(
                f"{without_query(href)} cannot be opened: {without_secrets(str(error))}"
            ) from None


def _split(href: str) -> tuple[str, str]:
    """Address of a bucket, container or host, and the key in it."""
    url = urlparse(href)
    key = unquote(url.path).lstrip("/")
    if url.scheme not in ("s3", "http", "https") or not url.netloc or not key:
        raise ArchiveError(f"{without_query(href)} is no address of a file (s3://, https://)")
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
