"""The address under which clients see the server."""

from starlette.requests import Request

PREFIX = "terrazzo.prefix"
"""Name in a request's scope of the path that the routes lie under."""


def public_base(request: Request) -> str:
    """Scheme, host and path prefix of the routes, without a slash at the end; `PublicAddress` made them public."""
    return str(request.base_url).rstrip("/") + str(request.scope.get(PREFIX, ""))
