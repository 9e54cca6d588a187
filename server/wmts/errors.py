"""OWS exceptions: code, locator, status (OGC 06-121r3 and 07-057r7, tables 20, 24 and 30)."""

from xml.sax.saxutils import escape, quoteattr

from starlette.responses import Response

STATUS = {"OperationNotSupported": 501, "NoApplicableCode": 500}
"""Status codes other than 400."""
NO_RESOURCE = ("TileOutOfRange", "InvalidParameterValue", "PointIJOutOfRange")
"""What the resource-oriented style answers with 404: an address that names nothing."""


class OwsException(Exception):
    """An error of a WMTS request.

    Attributes:
        code: exception code of the standard.
        locator: the parameter at fault, or the operation that is not supported; None where the standard names none.
    """

    def __init__(self, code: str, locator: str | None, text: str) -> None:
        super().__init__(text)
        self.code, self.locator = code, locator


def report(error: OwsException, *, rest: bool) -> Response:
    """The ExceptionReport of an error."""
    locator = f" locator={quoteattr(_clean(error.locator))}" if error.locator else ""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ExceptionReport xmlns="http://www.opengis.net/ows/1.1" version="1.1.0" xml:lang="en">'
        f"<Exception exceptionCode={quoteattr(error.code)}{locator}>"
        f"<ExceptionText>{escape(_clean(str(error)))}</ExceptionText></Exception></ExceptionReport>"
    )
    status = 404 if rest and error.code in NO_RESOURCE else STATUS.get(error.code, 400)
    return Response(body, status, {"Cache-Control": "no-store"}, "application/xml")


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(
        c if c >= " " and c not in "\ufffe\uffff" and not "\ud800" <= c <= "\udfff" else " " for c in text
    )
