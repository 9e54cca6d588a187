"""Settings of a server, read once from `TERRAZZO_*` variables and the command line."""

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from terrazzo.errors import StoreError
from terrazzo.server.guard import guarded_by_default, hosts_of
from terrazzo.server.logs import Form
from terrazzo.store import local_root

BLOCKS, FEWEST = 1 << 28, 1 << 26
"""Bytes of decoded blocks that the processes of a server keep together, and that each keeps at least."""
Texts = Annotated[tuple[str, ...], NoDecode]
"""Several values, separated by commas in a variable."""


class Settings(BaseSettings):
    """Settings of a server, each also an environment variable: `TERRAZZO_STORE`, `TERRAZZO_CACHE_DIR`, …"""

    model_config = SettingsConfigDict(env_prefix="TERRAZZO_", frozen=True)

    store: str = Field(description="folder or address of the store")
    live: Texts = Field(
        (),
        description="stores of first looks, the finest first: each shows the mosaics that those before it have not published yet",
    )
    public_url: str | None = Field(
        None, description="address under which clients see the server, path included"
    )
    assets_url: str | None = Field(
        None,
        description="address under which clients can read the store's files; without it STAC Items have no addresses of files",
    )
    cache_dir: Path | None = Field(
        None, description="folder of the tile cache; without it there is no cache on disk"
    )
    cache_size: int = Field(1 << 30, ge=1 << 20, description="bytes the tile cache may take")
    threads: int | None = Field(
        None,
        ge=1,
        description="tiles rendered at the same time; by default 4, of an object store 16, which mostly wait",
    )
    queue: int = Field(512, ge=1, description="requests that may wait; the next one gets 503")
    deadline: float = Field(30.0, gt=0, description="seconds after which a request ends with 503")
    memory: int = Field(
        1 << 30,
        ge=1 << 26,
        description="bytes that the pictures of all requests may take in a process; where one does not fit, it waits if it takes at most an eighth of this, and gets 503 otherwise; one alone may take more",
    )
    blocks: int = Field(
        BLOCKS,
        ge=0,
        description="bytes of decoded blocks that a process keeps; by default 256 MiB among all, at least 64 each",
    )
    uploads: int = Field(4, ge=1, description="files of areas that a process receives at the same time")
    follow: float = Field(5.0, ge=0, description="seconds between checks for a new version")
    max_age: int = Field(
        60, ge=0, description="seconds that a client may keep an answer of the current version"
    )
    cors_origins: Texts = Field(("*",), description="origins that may read answers from scripts")
    trusted_proxies: Texts = Field(
        ("127.0.0.1/32", "::1/128"), description="networks whose X-Forwarded-* headers are trusted"
    )
    log: Form = Field("off", description="a line for each request: off, text or json")
    title: str = "Terrazzo"
    labels: str | None = Field(
        None,
        description="address of tiles with place names for the map, https://…/{z}/{x}/{y}.png; none: no outside host is asked",
    )
    labels_attribution: str = Field("", description="attribution of the labels, shown on the map")
    provider: str = Field("", description="name of the operator, for WMTS")
    contact: str = Field("", description="mail address of the operator, for WMTS")
    provider_url: str = Field("", description="web page of the operator, for WMTS")
    fees: str = Field("none", description="fees, for WMTS")
    access: str = Field("", description="access constraints, for WMTS; the data's attribution by default")
    tms: Texts = Field(
        (),
        description="tile matrix sets of the WMTS: names, and JSON files; by default WebMercatorQuad and the mosaic's own grid",
    )
    short_crs: bool = Field(
        False, description="write EPSG:3857 instead of urn:ogc:def:crs:EPSG::3857 into WMTS documents"
    )

    state: Path | None = Field(
        None, description="folder for keys, jobs and exports; by default STORE-state beside a local store"
    )
    jobs_url: str | None = Field(
        None,
        description="queue that several export workers share, redis://…; by default a file, for one worker",
    )
    export_days: float = Field(7, gt=0, description="days that a finished export is kept")
    export_hours: float = Field(24, gt=0, description="hours of work after which an export is given up")
    export_jobs: int = Field(10, ge=1, description="unfinished exports a key")
    export_samples: int = Field(
        20_000_000_000, ge=1, description="pixels times bands that a key may export in a day"
    )

    host: str = Field("127.0.0.1", description="address to listen on; `terrazzo serve --host` sets it")
    protect: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        None,
        description="what needs a key: export; tiles, everything about mosaics with their exports; or none. By default export, unless the request comes from a program of this machine without a proxy",
    )

    def guarded(self) -> tuple[str, ...]:
        """The scopes that need a key: an export holds a mosaic's pixels, so it needs one wherever they do."""
        if self.protect is None:
            return guarded_by_default(self.host, self.public_url)
        return (
            ("tiles", "export") if "tiles" in self.protect else tuple(p for p in self.protect if p != "none")
        )

    def own_hosts(self) -> tuple[str, ...]:
        """The host names of a server that listens on this machine alone; empty if it has others."""
        return hosts_of(self.host, self.public_url)

    def rendering_threads(self) -> int:
        """The number of rendering threads; more over an object store, where they mostly wait."""
        return self.threads or (16 if local_root(self.store) is None else 4)

    def state_folder(self) -> Path:
        """The folder for keys, jobs and exports.

        Raises:
            StoreError: the store is not local, and no folder is set.
        """
        if self.state is not None:
            return self.state
        root = local_root(self.store)
        if root is None:
            raise StoreError("exports and keys need a local folder: set TERRAZZO_STATE")
        store = root.resolve()
        return store.with_name(f"{store.name}-state")

    def can_export(self) -> bool:
        """Whether a folder for jobs exists and is writable, or can be created."""
        try:
            folder = self.state_folder()
        except StoreError:
            return False
        near = next(p for p in (folder, *folder.absolute().parents) if p.exists())
        return near.is_dir() and os.access(near, os.W_OK | os.X_OK)

    @field_validator("live", "cors_origins", "trusted_proxies", "tms", "protect", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(v.strip() for v in value.split(",") if v.strip()) if isinstance(value, str) else value

    @field_validator("public_url", "assets_url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        schemes = ("http", "https", "s3", "gs", "az")
        if value and (urlsplit(value).scheme not in schemes or not urlsplit(value).netloc):
            raise ValueError("an address such as https://example.org/maps")
        return value or None

    @field_validator("labels")
    @classmethod
    def _are_tiles(cls, value: str | None) -> str | None:
        if not value:
            return None
        # Its host goes into the page's policy: a blank, a comma or a semicolon there would write another rule.
        host = re.fullmatch(r"https?://[\w.:-]+/[^\s,;]*", value)
        if host is None or any(name not in value for name in ("{z}", "{x}", "{y}")):
            raise ValueError("TERRAZZO_LABELS: an address such as https://example.org/labels/{z}/{x}/{y}.png")
        return value

    @field_validator("protect")
    @classmethod
    def _are_scopes(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (set(value) - {"tiles", "export", "none"} or not value):
            raise ValueError("TERRAZZO_PROTECT: tiles, export or both with a comma between, or none")
        return value

    @field_validator("jobs_url")
    @classmethod
    def _is_queue(cls, value: str | None) -> str | None:
        if value and urlsplit(value).scheme not in ("redis", "rediss", "unix"):
            raise ValueError("TERRAZZO_JOBS_URL: redis://HOST:PORT/NUMBER, rediss://… or unix://…")
        return value or None

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value
