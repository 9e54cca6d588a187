"""The address under which clients see the server."""

from starlette.requests import Request

from server.settings import Settings


def public_base(request: Request, settings: Settings) -> str:
    """Scheme, host and path prefix, without a slash at the end.

    `TERRAZZO_PUBLIC_URL` wins; else what the request came with (uvicorn takes forwarded headers only from
    addresses it was told to trust).
    """
    if settings.public_url:
        return settings.public_url.rstrip("/")
    return str(request.base_url).rstrip("/")
