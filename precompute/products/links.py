"""Addresses that carry a signature, and texts that must not: tokens are used to fetch, and never written down."""

import logging
import re
from collections.abc import Mapping
from typing import Any

URL = re.compile(r"(?P<start>[a-z][a-z0-9+.-]*://)(?:[^\s/?#@\"'<>]*@)?", re.IGNORECASE)
QUERY = re.compile(r"\?[^\s?\"'<>|]*=[^\s\"'<>|]*")
"""A query with at least one value, wherever it stands: libraries log paths without their hosts too."""


def without_secrets(text: str) -> str:
    """A text for people, its addresses without query, user and password."""
    return QUERY.sub("", URL.sub(r"\g<start>", text))


def without_query(href: str) -> str:
    """An address without query, fragment, user and password; a path on this machine stays as it is."""
    if "://" not in href:
        return without_secrets(href)
    return URL.sub(r"\g<start>", re.split(r"[?#]", href, maxsplit=1)[0], count=1)


def unsigned(document: Any) -> Any:
    """A JSON document, every address in it without its query: it may be kept, and nobody can use it to fetch."""
    if isinstance(document, str):
        return without_secrets(document) if re.search(r"\s", document) else without_query(document)
    if isinstance(document, Mapping):
        return {key: unsigned(value) for key, value in document.items()}
    if isinstance(document, list):
        return [unsigned(value) for value in document]
    return document


class Unsigned(logging.Filter):
    """Keeps the secrets of addresses out of the messages of libraries."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_secrets(record.getMessage()), ()
        return True
