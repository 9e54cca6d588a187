"""Words of what programs print for people."""


def counted(count: int, noun: str) -> str:
    """A number with its noun, in the singular for one: "1 scene", "2 scenes", "0 scenes", "3 passes".

    Args:
        noun: in the singular; words may follow it after ` of `, and stay as they are.
    """
    if count == 1:
        return f"1 {noun}"
    head, of, rest = noun.partition(" of ")
    return f"{count} {head}{'es' if head.endswith('s') else 's'}{of}{rest}"
