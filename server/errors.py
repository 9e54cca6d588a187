"""One table of errors and status codes, and the answers to errors."""

import logging

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from terrazzo.errors import (
    Changed,
    InvalidRequest,
    NotFound,
    Overloaded,
    ReadFailure,
    StoreError,
    TerrazzoError,
    TooMany,
    TooSlow,
)

log = logging.getLogger(__name__)
LEFT = 499
"""Nobody reads the answer when the client has left; the number is the one that nginx logs then."""
STATUS_CODES: dict[type[Exception], int] = {
    InvalidRequest: 400,
    NotFound: 404,
    TooSlow: 408,
    Changed: 412,
    TooMany: 429,
    Overloaded: 503,
    StoreError: 503,
    ReadFailure: 503,
    TerrazzoError: 500,
    ClientDisconnect: LEFT,
}
"""Status code of each error, the first that fits; for `titiler.core.errors.add_exception_handlers` too."""


def add_error_answers(app: FastAPI) -> None:
    """Answers errors with their text as JSON; none is kept by a cache."""

    @app.exception_handler(TerrazzoError)
    async def answer(request: Request, error: TerrazzoError) -> Response:
        status = next(code for kind, code in STATUS_CODES.items() if isinstance(error, kind))
        headers = {"Cache-Control": "no-store"}
        if status == 503:
            headers["Retry-After"] = "2"
        if status == 500 or error.operator:
            level = logging.ERROR if status >= 500 else logging.INFO
            log.log(level, "%s %s: %s", request.method, request.url.path, error.whole)
        return JSONResponse({"detail": str(error)}, status, headers)

    @app.exception_handler(ClientDisconnect)
    async def left(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=LEFT)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        details = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors())
        return JSONResponse({"detail": details}, 400, {"Cache-Control": "no-store"})
