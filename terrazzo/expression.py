"""Expressions over bands, such as (B08-B04)/(B08+B04): checked before anything is read, evaluated pixel by pixel."""

import ast
import re
from collections.abc import Sequence

import numexpr
import numpy as np
from numpy.typing import NDArray

from terrazzo.errors import InvalidRequest

BAND = re.compile(r"\bB(?:\d\d|8A)\b")
LONGEST = 500
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


def bands_of(expression: str) -> tuple[str, ...]:
    """The bands that an expression names, in the order in which it does.

    Raises:
        InvalidRequest: it is no arithmetic expression over bands.
    """
    bands = tuple(dict.fromkeys(BAND.findall(expression)))
    if not bands or len(expression) > LONGEST or not CHARACTERS.fullmatch(expression):
        raise InvalidRequest("expression: an arithmetic expression over bands, such as (B08-B04)/(B08+B04)")
    for part in parts(expression):
        try:
            tree = ast.parse(part, mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise InvalidRequest("expression: not an arithmetic expression over bands") from None
        for node in ast.walk(tree):
            _check(node)
    return bands


def _check(node: ast.AST) -> None:
    if not isinstance(node, NODES):
        raise InvalidRequest(f"expression: {type(node).__name__} has no place in an arithmetic expression")
    if isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else "?"
        if name not in FUNCTIONS:
            raise InvalidRequest(f"expression: function {name}; there are {', '.join(FUNCTIONS)}")
    elif isinstance(node, ast.Constant):
        if not isinstance(node.value, int | float):
            raise InvalidRequest(f"expression: {node.value!r} is no real number")
    elif isinstance(node, ast.Name):
        if node.id not in FUNCTIONS and not BAND.fullmatch(node.id):
            raise InvalidRequest(f"expression: {node.id} is no band")
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        # Powers of plain numbers are computed to the last digit: 9**9**9 never ends.
        exponent = node.right.operand if isinstance(node.right, ast.UnaryOp) else node.right
        value = exponent.value if isinstance(exponent, ast.Constant) else None
        over_band = any(isinstance(n, ast.Name) and BAND.fullmatch(n.id) for n in ast.walk(node.left))
        if not (isinstance(value, int | float) and value <= 10 and over_band):
            raise InvalidRequest("expression: powers of bands with a number up to 10, such as B04**2")


def evaluate(expression: str, bands: Sequence[str], reflectance: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values of an expression.

    Args:
        expression: checked by `bands_of`.
        bands: names of the bands of `reflectance`.
        reflectance: (band, row, col) float32, NaN without data.

    Returns:
        (part, row, col) float32; NaN where any band has no data or the result is no finite number.

    Raises:
        InvalidRequest: it cannot be evaluated.
    """
    named = dict(zip(bands, reflectance, strict=True))
    results = np.empty((len(parts(expression)), *reflectance.shape[1:]), np.float32)
    for result, part in zip(results, parts(expression), strict=True):
        try:
            with np.errstate(all="ignore"):
                result[...] = numexpr.evaluate(part, local_dict=named, global_dict={})
        except (
            ValueError,
            SyntaxError,
            KeyError,
            TypeError,
            NameError,
            ArithmeticError,
            NotImplementedError,
        ) as error:
            raise InvalidRequest(f"expression={expression}: {error}") from None
    results[:, np.isnan(reflectance).any(axis=0)] = np.nan
    results[~np.isfinite(results)] = np.nan
    return results
