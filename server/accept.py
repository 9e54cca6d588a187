"""What a client would rather have: Accept, as RFC 9110 words it."""

from collections.abc import Sequence


def preferred(accept: str, offered: Sequence[str]) -> str | None:
    """The offered media type that a client wants most; None where it wants none of them.

    The most exact range that names a type decides how much it is wanted. Of types that are wanted alike the header's
    order decides, then that of the offer.
    """
    ranges = [_range(part, place) for place, part in enumerate(accept.split(","))]
    wanted = []
    for media in offered:
        kinds = ("*/*", media.partition("/")[0] + "/*", media)
        named = [(kinds.index(name), quality, -place) for name, quality, place in ranges if name in kinds]
        if named and (best := max(named))[1] > 0:
            wanted.append(((best[1], best[0], best[2]), media))
    return max(wanted, key=lambda w: w[0])[1] if wanted else None


def _range(text: str, place: int) -> tuple[str, float, int]:
    """A media range with its quality, 0 to 1, and its place; a quality that is no number counts as 0."""
    name, *parameters = (p.strip().lower() for p in text.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, min(max(float(value), 0), 1), place
            except ValueError:
                return name, 0, place
    return name, 1, place
