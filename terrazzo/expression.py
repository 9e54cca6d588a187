"""Expressions over bands, such as (B08-B04)/(B08+B04): checked before anything is read, evaluated pixel by pixel."""

import ast
import math
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numexpr
import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import BANDS, BY_COMMON_NAME
from terrazzo.errors import InvalidRequest
from terrazzo.stop import require_wanted

BAND = re.compile(r"\bB(?:\d\d|8A)\b")
LONGEST = 500
MOST_COST = 300
"""Operations on a pixel, all parts together; a power counts as the products that it is computed as."""
MOST_DEPTH = 150
"""Operations of which each needs the next one's result."""
AT_ONCE = 1 << 20
"""Pixels between two checks of whether the client still waits."""
LOST_PLUS = re.compile(r"(?<=[\w.)])\s+(?=[\w.(])")
"""A blank between operands: addresses turn the + that stood there into one."""
PIXEL = 0.3
"""Reflectance of the pixel on which a formula is tried, a little more for each further band."""
CHARACTERS = re.compile(r"[\w\s+\-*/().,;<>=&|~!^%]+")
FUNCTIONS = (
    *(
        "where",
        "abs",
        "sign",
        "sqrt",
        "exp",
        "expm1",
        "log",
        "log10",
        "log1p",
        "log2",
        "floor",
        "ceil",
        "trunc",
    ),
    *("round", "fmod", "hypot", "maximum", "minimum", "isnan", "isfinite", "sin", "cos", "tan", "arcsin"),
    *("arccos", "arctan", "arctan2", "sinh", "cosh", "tanh"),
)
"""What may be called: functions of single pixels. Sums over all pixels would make them depend on the tile they lie in."""
NODES = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Constant, ast.Name, ast.Call, ast.Load),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.Mod, ast.FloorDiv, ast.USub, ast.UAdd),
    *(ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.BitAnd, ast.BitOr, ast.BitXor, ast.Invert),
)


def parts(expression: str) -> list[str]:
    """The single expressions of several that are separated by semicolons."""
    return [p.strip() for p in expression.split(";") if p.strip()]


@lru_cache(maxsize=512)
def checked(expression: str) -> str:
    """An expression as it is evaluated: without idle blanks, and with the + that addresses turn into blanks.

    It is evaluated once, on one pixel: what cannot be computed is refused before anything is read.

    Raises:
        InvalidRequest: it is no arithmetic expression over bands, or cannot be evaluated; the message says why.
    """
    if len(expression) > LONGEST:
        raise InvalidRequest(f"expression: at most {LONGEST} characters")
    text = ";".join(" ".join(_with_plus(part).split()) for part in parts(expression))
    if not text or not CHARACTERS.fullmatch(text):
        raise InvalidRequest("expression: an arithmetic expression over bands, such as (B08-B04)/(B08+B04)")
    cost = 0
    for part in parts(text):
        try:
            tree = ast.parse(part, mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise InvalidRequest(f"expression={part}: not an arithmetic expression over bands") from None
        for node in ast.walk(tree):
            _check(node)
        cost += _cost(tree.body)
        if cost > MOST_COST:
            raise InvalidRequest(
                f"expression: it takes more than {MOST_COST} operations on each pixel; B04**6 counts 6,"
                " and (B04**6)**6 36: use smaller powers or fewer parts"
            )
    bands = bands_of(text)
    if not bands:
        raise InvalidRequest("expression: an arithmetic expression over bands, such as (B08-B04)/(B08+B04)")
    pixel = PIXEL + 0.01 * np.arange(len(bands), dtype=np.float32)
    evaluate(text, bands, pixel.astype(np.float32)[:, None, None])
    return text


def bands_of(expression: str) -> tuple[str, ...]:
    """The bands that an expression names, in the order in which it does."""
    return tuple(dict.fromkeys(BAND.findall(expression)))


def meant(name: str, bands: Sequence[str]) -> str:
    """`; did you mean B08 or B8A?` for a name like that of a band, else empty.

    Args:
        bands: those that there are.
    """
    text = name.strip().upper()
    number = re.fullmatch(r"B?0*(\d{1,2})(A?)", text)
    common = [band for name, band in BY_COMMON_NAME.items() if name.upper() == text]
    names = [f"B{int(number[1]):02d}", f"B{number[1]}A"] if number else common
    likely = [b for b in dict.fromkeys(names) if b in bands and b != name]
    return f"; did you mean {' or '.join(likely)}?" if likely else ""


def _with_plus(part: str) -> str:
    words = LOST_PLUS.split(part.strip())
    text = words[0]
    for word in words[1:]:
        name = re.search(r"[A-Za-z_]\w*$", text)
        # `maximum (B04, B08)` is a call, and `B04 (B08)` was a sum.
        text += word if word.startswith("(") and name and name[0] in FUNCTIONS else f"+{word}"
    return text


def _check(node: ast.AST) -> None:
    if not isinstance(node, NODES):
        raise InvalidRequest(f"expression: {type(node).__name__} is not allowed in an arithmetic expression")
    if isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else "?"
        if name not in FUNCTIONS:
            raise InvalidRequest(f"expression: function {name}; there are {', '.join(FUNCTIONS)}")
    elif isinstance(node, ast.Constant):
        if not isinstance(node.value, int | float):
            raise InvalidRequest(f"expression: {node.value!r} is no real number")
    elif isinstance(node, ast.Name):
        if node.id not in FUNCTIONS and node.id not in BANDS:
            raise InvalidRequest(f"expression: {node.id} is no band{meant(node.id, tuple(BANDS))}")
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        # Powers of plain numbers are computed to the last digit: 9**9**9 never ends.
        exponent = node.right.operand if isinstance(node.right, ast.UnaryOp) else node.right
        value = exponent.value if isinstance(exponent, ast.Constant) else None
        over_band = any(isinstance(n, ast.Name) and BAND.fullmatch(n.id) for n in ast.walk(node.left))
        if not (isinstance(value, int | float) and value <= 10 and over_band):
            raise InvalidRequest("expression: powers of bands with a number up to 10, such as B04**2")


def _cost(node: ast.AST, depth: int = 0) -> int:
    """Operations on a pixel, once powers are written out as products.

    Raises:
        InvalidRequest: too many of them are nested.
    """
    if depth > MOST_DEPTH:
        raise InvalidRequest(f"expression: more than {MOST_DEPTH} operations inside each other")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        exponent = node.right.operand if isinstance(node.right, ast.UnaryOp) else node.right
        assert isinstance(exponent, ast.Constant)
        assert isinstance(exponent.value, int | float)
        return max(1, math.ceil(exponent.value)) * _cost(node.left, depth + 1)
    counts = isinstance(node, ast.BinOp | ast.UnaryOp | ast.Compare | ast.Call)
    inside = node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
    return int(counts) + sum(_cost(child, depth + 1) for child in inside) + isinstance(node, ast.Name)


def evaluate(expression: str, bands: Sequence[str], reflectance: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values of an expression.

    Args:
        expression: as `checked` returns it.
        bands: names of the bands of `reflectance`.
        reflectance: (band, row, col) float32, NaN without data.

    Returns:
        (part, row, col) float32; NaN where any band has no data or the result is no finite number.

    Raises:
        InvalidRequest: it cannot be evaluated.
        Abandoned: the client left.
    """
    results = np.empty((len(parts(expression)), *reflectance.shape[1:]), np.float32)
    rows = max(1, AT_ONCE // max(1, reflectance.shape[2]))
    pieces = [slice(row, row + rows) for row in range(0, reflectance.shape[1], rows)]
    for (result, part), piece in product(zip(results, parts(expression), strict=True), pieces):
        require_wanted()
        named = {band: values[piece] for band, values in zip(bands, reflectance, strict=True)}
        try:
            with np.errstate(all="ignore"):
                result[piece] = numexpr.evaluate(part, local_dict=named, global_dict={})
        except (
            ValueError,
            SyntaxError,
            KeyError,
            TypeError,
            NameError,
            ArithmeticError,
            NotImplementedError,
        ) as error:
            how = "; for a power use **, such as B04**2" if "^" in part else ""
            why = "its operands do not go together" if "opcode" in str(error) else error
            raise InvalidRequest(f"expression={part}: it cannot be computed ({why}){how}") from None
    results[:, np.isnan(reflectance).any(axis=0)] = np.nan
    results[~np.isfinite(results)] = np.nan
    return results
