"""Validation of products: each becomes a checked `Product` or the reason why it is left out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyproj.exceptions import ProjError
from rasterio.errors import RasterioError
from shapely.errors import ShapelyError

from terrazzo.errors import ProductError, TerrazzoError, UnreadableAsset
from terrazzo.precompute.products.product import LeftOut, Product

BROKEN = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    ProjError,
    ShapelyError,
)
"""Errors of parsers on unforeseen values."""


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turns what a parser or a raster library raises at a product into the reason why the product is left out.

    Raises:
        UnreadableAsset: something of the product could not be read.
    """
    try:
        yield
    except TerrazzoError:
        raise
    except RasterioError as error:
        raise UnreadableAsset(f"{what} is damaged ({_short(error)}); fetch the product again") from error
    except BROKEN as error:
        raise UnreadableAsset(
            f"{what} holds a value that cannot be understood ({_short(error)}); fetch the product again, or mend it"
        ) from error


def validated(name: str, read: Callable[[], Product]) -> Product | LeftOut:
    """The product that is read, or why it is left out; raises nothing that a product could cause."""
    try:
        with guarded(name):
            return read()
    except (ProductError, OSError) as error:
        return LeftOut(name, " ".join(str(error).split()))


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
