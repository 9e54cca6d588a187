"""The address under which clients see the server."""

from starlette.requests import Request


def public_base(request: Request) -> str:
    """Scheme, host and path prefix, without a slash at the end; `PublicAddress` made them public."""
    return str(request.base_url).rstrip("/")
