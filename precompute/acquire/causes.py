"""What became of a pass, by what catalogues list of it: the cause, what it means, and what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from terrazzo.precompute.acquire import expected
from terrazzo.precompute.products.passes import other_ground
from terrazzo.words import counted

if TYPE_CHECKING:
    from terrazzo.precompute.acquire.audit import PassKey, Sighting


class Cause(StrEnum):
    """Why a pass is named."""

    NOWHERE = "in_no_catalogue"
    ONE_ONLY = "in_one_only"
    SOME_ONLY = "in_some_only"
    SPLIT = "split"
    SUPERSEDED = "superseded"
    DELAYED = "delayed"
    AWAITED = "awaited"
    NOT_ACQUIRED = "not_acquired"
    IRREGULAR = "irregular"


TO_DO = {
    Cause.NOWHERE: "ask another archive for it (--archive), or its keeper; it may not have been acquired where no tile of the"
    " pass is listed",
    Cause.ONE_ONLY: "name both archives, `terrazzo watch --archive A,B`: what one lacks is fetched from the other",
    Cause.SOME_ONLY: "name all archives, `terrazzo watch --archive A,B,…`: what one lacks is fetched from the next",
    Cause.SPLIT: "fetch all parts, which are one observation; of an archive that lacks one, name the other too",
    Cause.SUPERSEDED: "fetch the newer processing; `terrazzo watch` replaces the older one",
    Cause.DELAYED: "nothing: it is there; keep `terrazzo watch` asking for days that are over",
    Cause.AWAITED: "nothing yet: ask again tomorrow",
    Cause.NOT_ACQUIRED: "nothing: the satellite took nothing of the area, in an outage, a manoeuvre or by plan",
    Cause.IRREGULAR: "nothing: of this tile and orbit not every pass is taken or published",
}


@dataclass(frozen=True)
class CatalogueFinding:
    """A pass over a tile that is not simply there.

    Attributes:
        products: names by archive.
        what: in words.
        act: there is something to fetch or to ask for.
        also: what else is so.
    """

    key: "PassKey"
    cause: Cause
    products: Mapping[str, Sequence[str]]
    what: str
    act: bool = False
    also: tuple[Cause, ...] = field(default=())


def of_absent(key: "PassKey", reason: str | None, whole: bool) -> CatalogueFinding:
    """A pass that no catalogue lists.

    Args:
        reason: why it need not be, None where it should.
        whole: no other tile of the pass is listed either.
    """
    if reason == expected.NOT_ACQUIRED:
        what = "no catalogue lists anything of the satellite in these days"
        return CatalogueFinding(key, Cause.NOT_ACQUIRED, {}, what)
    if reason == expected.IRREGULAR:
        return CatalogueFinding(key, Cause.IRREGULAR, {}, "not every pass of this tile and orbit is listed")
    what = "no tile of the pass is listed" if whole else "other tiles of the pass are listed"
    return CatalogueFinding(key, Cause.NOWHERE, {}, what, act=True)


def of_listed(
    key: "PassKey",
    members: Sequence["Sighting"],
    archives: Sequence[str],
    age: timedelta,
    usual: Mapping[str, timedelta],
    late: Mapping[str, tuple[float, float]],
    shown: str | None = None,
) -> CatalogueFinding | None:
    """A pass that a catalogue lists; None where there is nothing to say.

    Args:
        archives: all that were asked.
        age: since the pass.
        usual: how long after a pass each archive has it.
        late: days that it took an archive, and the usual ones.
        shown: the baseline in which the mosaic shows the pass; None where it does not.
    """
    products = {a: sorted({s.product.id for s in members if s.archive == a}) for a in archives}
    have = [a for a in archives if products[a]]
    lack = [a for a in archives if not products[a]]
    faults: list[tuple[Cause, str, bool]] = []
    if lack:
        if all(age < usual[a] for a in lack):
            faults.append((Cause.AWAITED, f"not yet in {_and(lack)}, as is usual so soon", False))
        else:
            cause = Cause.ONE_ONLY if len(have) == 1 else Cause.SOME_ONLY
            faults.append((cause, f"in {_and(have)}, not in {_and(lack)}", True))
    grounds = _grounds(members)
    faults += _split(grounds, have) + _superseded(grounds, have)
    newest = max(s.product.baseline for s in members)
    if shown is not None and shown < newest:
        names = [a for a in have if any(s.archive == a and s.product.baseline == newest for s in members)]
        faults.append((Cause.SUPERSEDED, f"the mosaic shows N{shown}, N{newest} is in {_and(names)}", True))
    if late:
        delays = [
            f"{a} had it after {counted(round(days), 'day')} ({usual_days:.1f} are usual)"
            for a, (days, usual_days) in late.items()
        ]
        faults.append((Cause.DELAYED, "; ".join(delays), False))
    if not faults:
        return None
    faults.sort(key=lambda f: not f[2])
    (cause, what, act), *others = faults
    what = "; ".join([what, *(w for _, w, _ in others)])
    also = tuple(c for c in dict.fromkeys(c for c, _, _ in others) if c != cause)
    return CatalogueFinding(key, cause, {a: products[a] for a in have}, what, act, also)


def _split(grounds: Sequence[Sequence["Sighting"]], have: Sequence[str]) -> list[tuple[Cause, str, bool]]:
    """Whether a pass comes in parts, and who lacks one."""
    if len(grounds) < 2:
        return []
    parts = {a: sum(any(s.archive == a for s in ground) for ground in grounds) for a in have}
    poor = [a for a in have if parts[a] < len(grounds)]
    parts_text = f"{len(grounds)} products, one a part"
    if poor:
        parts_text += "; " + ", ".join(f"{a} has {parts[a]} of them" for a in poor)
    return [(Cause.SPLIT, parts_text, bool(poor))]


def _superseded(
    grounds: Sequence[Sequence["Sighting"]], have: Sequence[str]
) -> list[tuple[Cause, str, bool]]:
    """Whether there is a newer processing of a ground than another that is listed, and who lacks it."""
    replacements, act = [], False
    for ground in grounds:
        newest = max(s.order for s in ground)
        old = sorted({s.order for s in ground if _is_older(s.order, newest)})
        if not old:
            continue
        best = {a: max((s.order for s in ground if s.archive == a), default=None) for a in have}
        behind = [a for a, order in best.items() if order is not None and _is_older(order, newest)]
        ahead = [a for a, order in best.items() if order is not None and a not in behind]
        act = act or bool(behind)
        replacements.append(
            f"{_named(newest)} in {_and(ahead)} replaces {', '.join(map(_named, old))}"
            + (f", the newest in {_and(behind)}" if behind else "")
        )
    return [(Cause.SUPERSEDED, "; ".join(dict.fromkeys(replacements)), act)] if replacements else []


def _is_older(order: tuple[str, datetime], newest: tuple[str, datetime]) -> bool:
    """Whether a processing was replaced; some archives give another processing time for one product."""
    if not order[0] or not newest[0]:
        return False
    return order[0] < newest[0] or abs(newest[1] - order[1]) > timedelta(hours=1)


def _named(order: tuple[str, datetime]) -> str:
    return f"N{order[0]} of {order[1]:%Y-%m-%d}"


def _grounds(members: Sequence["Sighting"]) -> list[list["Sighting"]]:
    """The products of a pass, a group for each part of the ground, the newest of a group first."""
    groups: list[list[Sighting]] = []
    for one in sorted(members, key=lambda s: s.order, reverse=True):
        same = [g for g in groups if any(s.strip_start and s.strip_start == one.strip_start for s in g)]
        same = same or [g for g in groups if not _is_other(one, g[0])]
        if same:
            same[0].append(one)
        else:
            groups.append([one])
    return groups


def _is_other(one: "Sighting", other: "Sighting") -> bool:
    """Whether two products are parts of a pass: datastrips of one baseline have different beginnings."""
    if one.product.baseline == other.product.baseline and one.strip_start and other.strip_start:
        return True
    return other_ground(one.product, other.product)


def _and(names: Sequence[str]) -> str:
    return " and ".join(names)
