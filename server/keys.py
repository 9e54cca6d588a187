"""API keys: made here, kept as hashes, taken out of requests before anything else sees them, and asked for where needed."""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from terrazzo.checks import understood
from terrazzo.errors import InvalidRequest, NotFound, StoreError

SCOPES = ("tiles", "export", "admin")
KEY = re.compile(r"tz_([0-9a-f]{8})_[A-Za-z0-9_\-]{43}")
PARAMETER = "api_key"
FILE = "keys.json"
MOSAIC = re.compile(r"/mosaics/([^/]+)(/exports(?:/|$))?")
NOBODY = "0" * 64


@dataclass(frozen=True)
class Key:
    """A key as it is kept.

    Attributes:
        id: the part of the key that names it and is no secret.
        hash: SHA-256 of the whole key; 256 random bits need no slower one.
        scopes: what it opens; `admin` opens all, and every owner's exports.
        mosaics: names of the mosaics it opens; empty for all.
        rate: requests a minute; None: any number.
        samples: pixels times bands it may export in a day; None: the server's limit.
    """

    id: str
    name: str
    hash: str
    scopes: tuple[str, ...]
    mosaics: tuple[str, ...] = ()
    rate: int | None = None
    samples: int | None = None
    created: str = ""

    def opens(self, scope: str, mosaic: str | None) -> bool:
        """Whether it opens a scope of a mosaic; of all mosaics' list for None."""
        named = mosaic is None or not self.mosaics or mosaic in self.mosaics
        return named and (scope in self.scopes or "admin" in self.scopes)


class Keys:
    """The keys in a folder's file; a change of the file counts at once, in every process.

    Attributes:
        path: of the file; every method that reads it raises StoreError where this user may not.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._seen: tuple[int, int] | None = None
        self._known: dict[str, Key] = {}
        self._lock = threading.Lock()

    def all(self) -> list[Key]:
        """The keys, the oldest first."""
        return list(self._read().values())

    def add(
        self,
        name: str,
        scopes: Iterable[str],
        mosaics: Iterable[str] = (),
        rate: int | None = None,
        samples: int | None = None,
    ) -> str:
        """Makes a key and returns it: only now, since its hash alone is kept.

        Raises:
            InvalidRequest: there is no such scope.
        """
        wanted = tuple(dict.fromkeys(scopes))
        if not wanted or set(wanted) - set(SCOPES):
            raise InvalidRequest(f"scopes: {', '.join(SCOPES)}")
        name_ = secrets.token_hex(4)
        text = f"tz_{name_}_{secrets.token_urlsafe(32)}"
        created = datetime.now(UTC).isoformat(timespec="seconds")
        key = Key(name_, name, _hash(text), wanted, tuple(mosaics), rate, samples, created)
        self._write([*self.all(), key])
        return text

    def revoke(self, name: str) -> Key:
        """Removes a key by its id.

        Raises:
            NotFound: there is none.
        """
        known = {k.id: k for k in self.all()}
        if name not in known:
            raise NotFound(f"there is no key {name!r}; `terrazzo keys list` names them")
        gone = known.pop(name)
        self._write(list(known.values()))
        return gone

    def find(self, text: str) -> Key | None:
        """The key that a text is; takes as long for a wrong secret as for a right one."""
        match = KEY.fullmatch(text)
        key = self._read().get(match[1]) if match else None
        same = hmac.compare_digest(_hash(text), key.hash if key else NOBODY)
        return key if same else None

    def _read(self) -> dict[str, Key]:
        try:
            about = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except PermissionError:
            raise _closed(self.path.parent) from None
        state = (about.st_mtime_ns, about.st_ino)
        with self._lock:
            if state != self._seen:
                try:
                    text = self.path.read_text()
                except PermissionError:
                    raise _closed(self.path) from None
                with understood(str(self.path)):
                    keys = [
                        Key(**{**k, "scopes": tuple(k["scopes"]), "mosaics": tuple(k["mosaics"])})
                        for k in json.loads(text)
                    ]
                self._known, self._seen = {k.id: k for k in keys}, state
            return self._known

    def _write(self, keys: list[Key]) -> None:
        folder = self.path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{FILE}.{os.getpid()}")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump([asdict(k) for k in keys], file, indent=1)
            if os.geteuid() == 0:
                # The server, which reads it, owns the folder.
                os.fchown(file.fileno(), folder.stat().st_uid, folder.stat().st_gid)
        os.replace(temporary, self.path)


def _closed(path: Path) -> StoreError:
    return StoreError(
        f"{path} cannot be read by this user: give it to the one that the server runs as (chown), or set TERRAZZO_STATE"
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class TakeKey:
    """Takes a request's key out of it, wherever it is, so that no log, cache or handler meets it.

    `scope["terrazzo.key"]` is the key, or None; `scope["terrazzo.key_text"]` its text where it is a valid one.
    """

    def __init__(self, app: ASGIApp, keys: Keys | None) -> None:
        self.app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on without its key."""
        if scope["type"] == "http":
            texts, scope = _taken(scope)
            known = [(k, t) for t in texts if self._keys is not None and (k := self._keys.find(t))]
            scope["terrazzo.key_given"] = bool(texts)
            scope["terrazzo.key"], scope["terrazzo.key_text"] = known[0] if known else (None, "")
        await self.app(scope, receive, send)


def _taken(scope: Scope) -> tuple[list[str], Scope]:
    """What may be keys in a request, and the request without them."""
    headers = Headers(scope=scope)
    texts = [headers.get("x-api-key", ""), *_authorized(headers.get("authorization", ""))]
    query = scope["query_string"]
    if PARAMETER.encode() in query.lower():
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        texts += [v for k, v in pairs if k.lower().lstrip("?&") == PARAMETER]
        query = urlencode(
            [(k, v) for k, v in pairs if k.lower().lstrip("?&") != PARAMETER], safe=",:/;()*"
        ).encode()
    kept = [(k, v) for k, v in scope["headers"] if k not in (b"x-api-key", b"authorization")]
    return [t for t in texts if t], {**scope, "headers": kept, "query_string": query}


def _authorized(header: str) -> list[str]:
    kind, _, value = header.partition(" ")
    if kind.lower() == "bearer":
        return [value.strip()]
    if kind.lower() == "basic":
        try:
            user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return []
        return [password, user]
    return []


class Guarded:
    """Lets a request to what needs a key pass only with one that opens it, and not too often.

    Answers to requests with a key are for its bearer alone: caches in between must not keep them.
    """

    def __init__(self, app: ASGIApp, guarded: tuple[str, ...]) -> None:
        self.app, self._guarded = app, guarded
        self._allowances: dict[str, tuple[float, float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers 401, 403 or 429."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        key: Key | None = scope.get("terrazzo.key")
        needed, mosaic = needs(scope["path"].removeprefix(scope.get("root_path", "")))
        if needed in self._guarded:
            if key is None:
                problem = "this key is not known" if scope.get("terrazzo.key_given") else "a key is needed"
                detail = (
                    f"{problem}: as X-API-Key, as Bearer, as {PARAMETER}= or as the password of HTTP Basic"
                )
                await _answer(
                    send, 401, detail, {"WWW-Authenticate": 'Basic realm="terrazzo", charset="UTF-8"'}
                )
                return
            if not key.opens(str(needed), mosaic):
                await _answer(send, 403, f"this key does not open {needed} of {mosaic or 'all mosaics'}", {})
                return
        if key is not None and (wait := self._wait(key)) > 0:
            detail = f"more than {key.rate} requests in a minute with this key"
            await _answer(send, 429, detail, {"Retry-After": str(int(wait) + 1)})
            return

        async def kept_private(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _private(message["headers"])}
            await send(message)

        await self.app(scope, receive, send if key is None else kept_private)

    def _wait(self, key: Key) -> float:
        """Seconds until a key may ask again; 0 takes one request off its allowance."""
        if key.rate is None:
            return 0.0
        now = time.monotonic()
        left, then = self._allowances.get(key.id, (float(key.rate), now))
        left = min(float(key.rate), left + (now - then) * key.rate / 60)
        if left < 1:
            self._allowances[key.id] = (left, now)
            return (1 - left) * 60 / key.rate
        self._allowances[key.id] = (left - 1, now)
        return 0.0


def needs(path: str) -> tuple[str | None, str | None]:
    """The scope that a path belongs to and its mosaic; None for what is open to all."""
    match = MOSAIC.match(path)
    if match:
        return "export" if match[2] else "tiles", match[1]
    return ("tiles" if path in ("/mosaics", "/stac") else None), None


def _private(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers that let the asker alone keep a picture, and nobody a document, which may hold the key."""
    kept = [(k, v) for k, v in headers]
    media = next((v for k, v in kept if k.lower() == b"content-type"), b"image/")
    if media.startswith((b"image/", b"application/x-npy")):
        return [
            (k, v.replace(b"public", b"private") if k.lower() == b"cache-control" else v) for k, v in kept
        ]
    others = [(k, v) for k, v in kept if k.lower() not in (b"cache-control", b"etag")]
    return [*others, (b"cache-control", b"private, no-store")]


async def _answer(send: Send, status: int, detail: str, headers: Mapping[str, str]) -> None:
    body = json.dumps({"detail": detail}).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    raw = [(k.lower().encode(), v.encode()) for k, v in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def key_query(request: Request) -> str:
    """`api_key=…` for the addresses in a document that was asked for with a key; else empty."""
    text = str(request.scope.get("terrazzo.key_text", ""))
    return f"{PARAMETER}={quote(text)}" if text else ""


def guarded_by_default(host: str, public_url: str | None) -> tuple[str, ...]:
    """What needs a key where the operator says nothing: exports, once others than this machine's users reach them."""
    names = [host, *([urlsplit(public_url).hostname or ""] if public_url else [])]
    return () if all(_is_own(n) for n in names) else ("export",)


def _is_own(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
