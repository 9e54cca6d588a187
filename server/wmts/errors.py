"""OWS exceptions: code, locator, status (OGC 06-121r3 and 07-057r7, tables 20, 24 and 30)."""

from xml.sax.saxutils import escape, quoteattr

from starlette.responses import Response

STATUS = {"OperationNotSupported": 501, "NoApplicableCode": 500}
"""Status codes other than 400."""


class OwsException(Exception):
    """An error of a WMTS request.

    Attributes:
        code: exception code of the standard; locator: the parameter at fault.
    """

    def __init__(self, code: str, locator: str, text: str) -> None:
        super().__init__(text)
        self.code, self.locator = code, locator


def report(error: OwsException) -> Response:
    """The ExceptionReport of an error."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ExceptionReport xmlns="http://www.opengis.net/ows/1.1" version="1.1.0" xml:lang="en">'
        f"<Exception exceptionCode={quoteattr(error.code)} locator={quoteattr(error.locator)}>"
        f"<ExceptionText>{escape(str(error))}</ExceptionText></Exception></ExceptionReport>"
    )
    return Response(body, STATUS.get(error.code, 400), {"Cache-Control": "no-store"}, "application/xml")
