"""API keys: made here, kept as hashes, taken out of requests before anything else sees them."""

import base64
import binascii
import fcntl
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlencode

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from terrazzo.errors import Damaged, InvalidRequest, NotFound, StoreError
from terrazzo.store import beside

log = logging.getLogger(__name__)
SCOPES = ("tiles", "export", "admin")
KEY = re.compile(r"tz_([0-9a-f]{8})_[A-Za-z0-9_\-]{43}")
PARAMETER = "api_key"
FILE = "keys.json"
COPY = "keys.copy.json"
"""The same again, written first: read where the file is damaged, so that a restart loses no key and revives none."""
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

    def names(self, mosaic: str) -> bool:
        """Whether it is for a mosaic."""
        return not self.mosaics or mosaic in self.mosaics

    def opens(self, scope: str, mosaic: str | None) -> bool:
        """Whether it opens a scope of a mosaic; of all mosaics' list for None."""
        return (mosaic is None or self.names(mosaic)) and (scope in self.scopes or "admin" in self.scopes)


class Keys:
    """The keys in a folder's file; a change of the file counts at once, in every process.

    A damaged file takes no key away: those last read go on to count, after a restart those of the file's copy.

    Attributes:
        path: of the file; every method that reads it raises StoreError where this user may not, or where neither it nor
            its copy can be read.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._seen: tuple[int, int, int] | None = None
        self._known: dict[str, Key] | None = None
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
        with self._alone():
            self._write([*self.all(), key])
        return text

    def revoke(self, name: str) -> Key:
        """Removes a key by its id.

        Raises:
            NotFound: there is none.
        """
        with self._alone():
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
        state = (about.st_mtime_ns, about.st_ino, about.st_size)
        with self._lock:
            if state != self._seen or self._known is None:
                try:
                    self._known = _keys_of(self.path)
                except Damaged as error:
                    # This process knows better, or the copy does.
                    if self._known is None:
                        self._known = _keys_of(self.path.with_name(COPY))
                    log.error(
                        "%s; the %d keys known before count: write it again with `terrazzo keys add`",
                        error,
                        len(self._known),
                    )
                self._seen = state
            return self._known

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps others from changing the file: what two of them add at the same time is all kept."""
        folder = self.path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(folder / f".{FILE}.lock", os.O_WRONLY | os.O_CREAT, 0o600), "w") as lock:
            _give(lock.fileno(), folder)
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Two changes within one tick of the file system's clock look the same.
            self._seen = None
            yield

    def _write(self, keys: list[Key]) -> None:
        data = json.dumps([asdict(k) for k in keys], indent=1).encode()
        # A key that is revoked must not come back with the copy, so that goes first.
        for path in (self.path.with_name(COPY), self.path):
            with beside(path, mode=0o600) as temporary, temporary.open("wb") as file:
                file.write(data)
                _give(file.fileno(), path.parent)


def _keys_of(path: Path) -> dict[str, Key]:
    """The keys that a file holds, by id.

    Raises:
        StoreError: this user may not read it.
        Damaged: it is missing, or not what was written.
    """
    try:
        raw = json.loads(path.read_bytes())
        keys = [Key(**{**k, "scopes": tuple(k["scopes"]), "mosaics": tuple(k["mosaics"])}) for k in raw]
    except PermissionError:
        raise _closed(path) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(
            f"{path} is damaged ({error}): restore it from a backup, or remove it and add the keys again"
        ) from None
    return {k.id: k for k in keys}


def _give(handle: int, folder: Path) -> None:
    """Gives what root writes to the folder's owner: the server, which reads it."""
    if os.geteuid() == 0:
        os.fchown(handle, folder.stat().st_uid, folder.stat().st_gid)


def _closed(path: Path) -> StoreError:
    return StoreError(
        f"{path} cannot be read by this user: give it to the one that the server runs as (chown), or set TERRAZZO_STATE"
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class TakeKey:
    """Takes a request's key out of it, wherever it is, so that no log, cache or handler meets it.

    `scope["terrazzo.key"]` is the key, or None; `scope["terrazzo.key_text"]` its text where it is a valid one;
    `scope["terrazzo.key_meant"]` whether the request's author put it there: a browser adds HTTP Basic by itself.
    """

    def __init__(self, app: ASGIApp, keys: Keys | None) -> None:
        self.app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on without its key."""
        if scope["type"] == "http":
            header = Headers(scope=scope).get("authorization", "")
            remembered = _authorized(header) if header.lower().startswith("basic") else []
            texts, scope = _taken(scope)
            known = [(k, t) for t in texts if (k := self._known(t))]
            scope["terrazzo.key_given"] = bool(texts)
            scope["terrazzo.key"], scope["terrazzo.key_text"] = known[0] if known else (None, "")
            scope["terrazzo.key_meant"] = bool(known) and known[0][1] not in remembered
        await self.app(scope, receive, send)

    def _known(self, text: str) -> Key | None:
        try:
            return None if self._keys is None else self._keys.find(text)
        except StoreError as error:
            # What needs no key is answered all the same.
            log.error("%s", error)
            return None


def _taken(scope: Scope) -> tuple[list[str], Scope]:
    """What may be keys in a request, and the request without them."""
    headers = Headers(scope=scope)
    texts = [headers.get("x-api-key", ""), *_authorized(headers.get("authorization", ""))]
    query = scope["query_string"]
    if PARAMETER.encode() in unquote_to_bytes(query).lower():
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


def listed_to(request: Request, mosaics: Iterable[str]) -> list[str]:
    """The mosaics that the client may see: with a key for some of them, those."""
    key: Key | None = request.scope.get("terrazzo.key")
    return [m for m in mosaics if key is None or key.names(m)]


def key_query(request: Request) -> str:
    """`api_key=…` for the addresses in a document that was asked for with a key; else empty."""
    text = str(request.scope.get("terrazzo.key_text", ""))
    return f"{PARAMETER}={quote(text)}" if text else ""
