"""Pictures answered lately: a repeated request is answered without reading its parameters or the store again."""

from collections import OrderedDict
from dataclasses import dataclass

from starlette.types import Scope

MOST = 10_000
"""Addresses that are kept; each takes about 1 kB."""
LONGEST = 2048
"""Characters of an address that is kept, at most."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What an address was answered with.

    Attributes:
        mosaic: the mosaic's name.
        version: name of the version that the answer shows.
        is_named: whether the request named that version; else the answer holds while it is the current one.
        key: of the picture in the cache.
        headers: ETag, Cache-Control and what else is the same in each answer.
    """

    mosaic: str
    version: str
    is_named: bool
    key: str
    media: str
    headers: dict[str, str]


class Recent:
    """Answers by address, the least used dropped first. For the event loop's thread alone."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, bytes], Answered] = OrderedDict()

    def note(self, scope: Scope, answered: Answered) -> None:
        """Keeps what a request was answered with."""
        address = _address(scope)
        if len(address[0]) + len(address[1]) > LONGEST:
            return
        self._known[address] = answered
        self._known.move_to_end(address)
        if len(self._known) > MOST:
            self._known.popitem(last=False)

    def find(self, scope: Scope) -> Answered | None:
        """What a request with the same address was answered with; None where that is not known."""
        address = _address(scope)
        answered = self._known.get(address)
        if answered is not None:
            self._known.move_to_end(address)
        return answered


def _address(scope: Scope) -> tuple[str, bytes]:
    # No header but If-None-Match changes a picture's answer.
    return scope["path"], scope["query_string"]
