"""What documents of others may hold: values that are missing, null, mistyped, ragged or no numbers, at any place."""

import copy
import random
import re
from typing import Any

VALUES: tuple[Any, ...] = (
    None, float("nan"), float("inf"), "", " ", "nan", "null", "abc", "[/x]", 0, -1, 1e308, True, False, [], {}, [None],
    [[1], [1, 2]], {"a": None}, "2023-08-15T15:50:57Z UTC", "0001-01-01", "../../etc", "MGRS-99ZZZ", "9twl", "sentinel-2",
    -1000, -0.1, 0.5, 1e-3, 5e-5, "é\x00",
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document, the outer ones first."""
    found = [path] if path else []
    if isinstance(value, dict):
        return found + [p for k, v in value.items() for p in places(v, (*path, k))]
    if isinstance(value, list):
        return found + [p for k, v in enumerate(value) for p in places(v, (*path, k))]
    return found


def mutated(
    document: Any, chance: random.Random, times: int = 1
) -> tuple[Any, list[tuple[tuple[Any, ...], Any]]]:
    """A copy of a document with values replaced or removed, and what was done: place and new value, `...` for removed."""
    out, done = copy.deepcopy(document), []
    for _ in range(times):
        place = chance.choice(places(out))
        holder = out
        for key in place[:-1]:
            holder = holder[key]
        value = ... if chance.random() < 0.3 else chance.choice(VALUES)
        if value is ...:
            del holder[place[-1]]
        else:
            holder[place[-1]] = copy.deepcopy(value)
        done.append((place, value))
    return out, done


def mutated_text(text: str, chance: random.Random) -> tuple[str, str]:
    """An XML with one number, tag, row or half of it gone or changed, and what was done."""
    kind = chance.choice(("number", "number", "number", "element", "row", "cut", "tag"))
    numbers = list(re.finditer(r"(?<=[>\s\"])-?\d+(?:\.\d+)?(?=[<\s\"])", text))
    lines = list(re.finditer(r"<(\w+)[^<>]*>[^<>]*</\1>", text))
    if kind == "number" and numbers:
        at = chance.choice(numbers)
        new = chance.choice(("", "nan", "NaN", "inf", "x", "-1", "0", "99999999", f"{float(at[0]) * 10:g}"))
    elif kind in ("element", "row") and lines:
        at = chance.choice(lines)
        new = "" if kind == "element" else at[0].replace(" ", "", 1)
    elif kind == "cut":
        end = chance.randrange(len(text))
        return text[:end], f"cut at {end}"
    else:
        at = chance.choice(list(re.finditer(r"</?\w+", text)))
        new = f"{at[0]}x"
    return text[: at.start()] + new + text[
        at.end() :
    ], f"{kind} {at[0][:40]!r} became {new[:40]!r} at {at.start()}"
