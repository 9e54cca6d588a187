"""Errors, named by what the user can do about them."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

__all__ = [
    "Abandoned",
    "ArchiveError",
    "Changed",
    "Damaged",
    "EmptyStore",
    "HeldBack",
    "InvalidRequest",
    "MissingBand",
    "NameTaken",
    "NotFound",
    "NothingUsable",
    "OutsideCoverage",
    "Overloaded",
    "ProductError",
    "ReadFailure",
    "StoreError",
    "StoreUnreachable",
    "TerrazzoError",
    "TooLarge",
    "TooMany",
    "TooSlow",
    "Uncorrectable",
    "UnreadableAsset",
    "WrongGrid",
    "near",
]


class TerrazzoError(Exception):
    """Base of all errors whose message is written for the user.

    Attributes:
        operator: details for the operator alone, such as the store's path: the command line prints them, a server writes them
            to its log and into no answer.
    """

    def __init__(self, message: str = "", operator: str = "") -> None:
        super().__init__(message)
        self.operator = operator

    @property
    def whole(self) -> str:
        """The message with the details for the operator."""
        return f"{self} {self.operator}".rstrip()

    def __reduce__(self) -> tuple[Any, ...]:
        """Keeps both texts on the way between processes."""
        return type(self), (str(self), self.operator)


class InvalidRequest(TerrazzoError):
    """A parameter or its value is not valid; the message lists what is allowed."""


class NotFound(TerrazzoError):
    """The named mosaic, version, scene or object does not exist."""


class OutsideCoverage(NotFound):
    """The requested place has no data in the store."""


class TooLarge(InvalidRequest):
    """The request is past a limit on pixels, bands or zoom; the message names the limit."""


class NameTaken(InvalidRequest):
    """A file of that name exists and may not be replaced."""


class Changed(TerrazzoError):
    """A condition of the request (`If-Match`, `If-Unmodified-Since`) no longer holds: the resource changed."""


class Overloaded(TerrazzoError):
    """The queue is full; the same request may succeed later."""


class TooMany(TerrazzoError):
    """A quota is used up; the message names it and when it is renewed."""


class TooSlow(TerrazzoError):
    """A request did not arrive in time; the message names the lowest speed."""


class Abandoned(TerrazzoError):
    """The client left before the answer was ready."""


class StoreError(TerrazzoError):
    """The store is missing, has another format, or is in use by another writer."""


class NothingUsable(StoreError):
    """None of the products can become a scene, and the store has none either."""


class EmptyStore(StoreError):
    """The store is empty; a server waits for the first mosaic."""


class HeldBack(TerrazzoError):
    """A new version is worse than the current one, which stays current; the message says how to publish the new one."""


class ArchiveError(TerrazzoError):
    """An archive does not answer, refuses, or has nothing for the request."""


class ProductError(TerrazzoError):
    """A product cannot become a scene; it is left out, and the others go on."""


class MissingBand(ProductError):
    """A product lacks a band that the store needs."""


class UnreadableAsset(ProductError):
    """A file of a product is missing, truncated or of the wrong kind."""


class WrongGrid(ProductError):
    """A product's coordinate system or grid is not the one its tile demands."""


class Uncorrectable(ProductError):
    """A product can be read and masked but not corrected to surface reflectance."""


class ReadFailure(TerrazzoError):
    """A file of a published scene cannot be read; the scene is left out and reported."""


class Damaged(StoreError, ReadFailure):
    """A file of the store is truncated or changed; the rest of the store can be used."""


class StoreUnreachable(StoreError, ReadFailure):
    """A store does not answer, or refuses; the same request may succeed later."""


def near(given: str, known: Sequence[str]) -> str:
    """`; did you mean …?` where a known name is like the given one; else empty."""
    matches = get_close_matches(given, known, 2, 0.6)
    return f"; did you mean {' or '.join(matches)}?" if matches else ""
