"""Fills a products folder: what is missing, how much that is, and the fetching of it."""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from threading import Event
from urllib.parse import urlparse

from terrazzo.errors import ArchiveError, StoreError, UnreadableAsset
from terrazzo.precompute.acquire.download import Missing, Note, Pace, Report, download
from terrazzo.precompute.acquire.held import Held
from terrazzo.precompute.acquire.opener import Opener
from terrazzo.precompute.acquire.parts import Stopped
from terrazzo.precompute.acquire.product_folder import ProductFolder
from terrazzo.precompute.acquire.search import Candidate, RemoteFile, Search
from terrazzo.precompute.acquire.sizes import Coming, by_headers, coming
from terrazzo.precompute.products.passes import other_ground
from terrazzo.precompute.products.product import LeftOut, Product

SPARE = 500_000_000
"""Bytes of the disk that are left free."""


@dataclass(frozen=True)
class Wanted:
    """A pass and tile that is to be fetched.

    Attributes:
        candidates: the best first.
        size: bytes of the best candidate that are still to be fetched, by the archive, else by the average of such files.
        others: products of the same pass, tile and ground that are here and will be replaced.
        estimated: how many of the bytes are estimated: those of files of unknown size, and of parts that are counted by their area.
        coming: files that make up the size.
    """

    candidates: tuple[Candidate, ...]
    size: int
    others: tuple[Product, ...] = ()
    estimated: int = 0
    coming: tuple[Coming, ...] = ()

    @classmethod
    def of(
        cls, candidates: tuple[Candidate, ...], coming: tuple[Coming, ...], others: tuple[Product, ...] = ()
    ) -> "Wanted":
        """Candidates, of the best of which some files are to come."""
        estimated = sum(c.bytes for c in coming if c.estimated)
        return cls(candidates, sum(c.bytes for c in coming), others, estimated, coming)


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        here: products of the search that are here already.
    """

    wanted: tuple[Wanted, ...]
    here: int
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]

    @property
    def size(self) -> int:
        return sum(w.size for w in self.wanted)

    @property
    def estimated(self) -> int:
        """How many of its bytes are estimated."""
        return sum(w.estimated for w in self.wanted)


@dataclass
class Fetched:
    """What a run did.

    Attributes:
        bad: passes that no archive could give.
        passed_over: candidates that failed where the next one came.
        notes: files that came whole where a part was wanted, and why.
    """

    done: list[Candidate] = field(default_factory=list)
    bad: list[LeftOut] = field(default_factory=list)
    passed_over: list[LeftOut] = field(default_factory=list)
    dropped: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Openers:
    """The openers of a run, one an archive."""

    def __init__(self) -> None:
        self._openers: dict[str, Opener] = {}

    def of(self, candidate: Candidate) -> Opener:
        """The opener of a candidate's archive."""
        return self._openers.setdefault(candidate.archive.name, Opener(candidate.archive))


def plan(
    hits: Search,
    product_folder: ProductFolder,
    openers: Openers,
    connections: int,
    held: Held | None = None,
    *,
    follow: bool = False,
) -> Plan:
    """Compares what archives have with what is here, and asks for sizes that Items lack.

    Args:
        held: scenes of the store; no smaller a part of their passes and tiles is fetched.
        follow: what the store shows need not be here as a product.
    """
    held = held or Held()
    here: dict[tuple[str, str], list[Product]] = {}
    for product in product_folder.products():
        here.setdefault((product.datatake, product.mgrs), []).append(product)
    groups: list[tuple[tuple[Candidate, ...], tuple[Product, ...]]] = []
    left_out, there = list(hits.left_out), 0
    for found_group in hits.groups:
        key = found_group[0].key
        # Other parts of the pass stay beside what comes.
        same = [p for p in here.get(key, ()) if not any(other_ground(p, c.product) for c in found_group)]
        parts = [product_folder.part(p.id) for p in same]
        group = tuple(c.widened(parts) for c in found_group)
        # A scene may reach some pixels further than the part that it was made of: what is here is not compared with it.
        if any(product_folder.has(group[0], product) for product in same):
            there += 1
            continue
        group = tuple(c.widened(held.beyond(group[0])) for c in group)
        if follow and key not in here and held.shows(group[0]):
            there += 1
            continue
        good = []
        for candidate in group:
            reason = product_folder.is_quarantined(candidate)
            if reason is None:
                good.append(candidate)
            else:
                how = f"{reason}; remove {product_folder.note(candidate.id)} to try it again"
                left_out.append(LeftOut(candidate.id, how))
        newer = [c for c in good if not any(product_folder.has(c, p) for p in same)]
        if newer:
            groups.append((tuple(newer), tuple(same)))
        elif good:
            there += 1
    with ThreadPoolExecutor(connections) as pool:
        files = pool.map(lambda group: _coming(group[0][0], openers, product_folder), groups)
        wanted = tuple(Wanted.of(g, f, same) for (g, same), f in zip(groups, files, strict=True))
    return Plan(wanted, there, tuple(left_out), hits.notes)


def _coming(candidate: Candidate, openers: Openers, product_folder: ProductFolder) -> tuple[Coming, ...]:
    """Files of a candidate that are not here."""
    files = [f for f in candidate.files if not product_folder.holds(candidate, f)]
    return coming(openers.of(candidate), candidate, files)


def with_headers(planned: Plan, openers: Openers, connections: int) -> Plan:
    """The plan with the bytes of parts of JP2 that their headers list, in place of estimates by area."""
    files = [(openers.of(w.candidates[0]), c.file) for w in planned.wanted for c in w.coming]
    lengths, note = by_headers(files, connections)
    each = iter(lengths)
    wanted = [
        Wanted.of(w.candidates, tuple(c.exactly(next(each)) for c in w.coming), w.others) if w.coming else w
        for w in planned.wanted
    ]
    return replace(planned, wanted=tuple(wanted), notes=(*planned.notes, *([note] if note else [])))


def gigabytes(size: int) -> str:
    """Bytes as people read them."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def require_space(plan: Plan, folder: Path) -> None:
    """Refuses a plan that does not fit on the disk.

    Raises:
        StoreError: it does not.
    """
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    if plan.size + SPARE > free:
        raise StoreError(
            f"the products need {plan.size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free at {there}; free some space,"
            " ask for fewer dates or bands, or name another folder with --products"
        )


def accessible(plan: Plan, openers: Openers) -> Plan:
    """The plan without products whose place in an archive cannot be read from here, and a note on each place.

    An archive's files may lie in several: some of Earth Search's Items have JP2 in a bucket that wants keys.

    Raises:
        ArchiveError: none can be read.
    """
    problems: dict[tuple[str, str], str] = {}

    def place(candidate: Candidate) -> tuple[str, str]:
        url = urlparse(candidate.files[0].href)
        return candidate.archive.name, f"{url.scheme}://{url.netloc}"

    for candidate in (c for w in plan.wanted for c in w.candidates):
        if place(candidate) not in problems:
            problems[place(candidate)] = ""
            try:
                openers.of(candidate).open(candidate.files[0].href)
            except ArchiveError as error:
                problems[place(candidate)] = str(error)
    wanted = [
        replace(w, candidates=tuple(c for c in w.candidates if not problems[place(c)])) for w in plan.wanted
    ]
    refusals = tuple(p for p in problems.values() if p)
    if plan.wanted and not any(w.candidates for w in wanted):
        raise ArchiveError("; ".join(refusals))
    return replace(plan, wanted=tuple(w for w in wanted if w.candidates), notes=(*plan.notes, *refusals))


def fetch(
    plan: Plan,
    product_folder: ProductFolder,
    openers: Openers,
    *,
    connections: int,
    report: Report,
    finished: Callable[[Candidate, str | None], None],
    stop: Event | None = None,
    pace: Pace | None = None,
) -> Fetched:
    """Fetches what a plan wants; a product that cannot be fetched is noted, and the others go on.

    Args:
        connections: files that are on their way at once.
        report: called with the bytes that arrive.
        finished: called with each fetched candidate, or the reason why it failed.
        stop: ends the run when it is set; whole files of products that are half here stay for the next one.

    Raises:
        OSError: the disk is full.
    """
    result, stop = Fetched(), stop or Event()
    with ThreadPoolExecutor(connections) as files, ThreadPoolExecutor(connections) as products:
        runs: dict[Future[Candidate | None], Wanted] = {}
        todo = iter(plan.wanted)
        shared = (files, report, stop, pace, result.notes.append)

        def one(wanted: Wanted) -> Candidate | None:
            failed = list[LeftOut]()
            for candidate in wanted.candidates:
                reason = _product(candidate, product_folder, openers.of(candidate), *shared)
                finished(candidate, reason)
                if reason is None:
                    result.passed_over += failed
                    return candidate
                failed.append(LeftOut(candidate.id, reason))
            result.bad += failed
            return None

        try:
            # Two products more than files can be busy with: the pool of files is never idle, and few are half done.
            for wanted in islice(todo, connections // 4 + 2):
                runs[products.submit(one, wanted)] = wanted
            while runs:
                ready, _ = wait(runs, return_when=FIRST_COMPLETED)
                for future in ready:
                    others, candidate = runs.pop(future).others, future.result()
                    if candidate is not None:
                        result.done.append(candidate)
                        result.dropped += _supersede(candidate, others, product_folder)
                    for wanted in islice(todo, 1):
                        runs[products.submit(one, wanted)] = wanted
        except Stopped:
            pass
        except BaseException:
            stop.set()
            raise
    return result


def _product(
    candidate: Candidate,
    product_folder: ProductFolder,
    opener: Opener,
    pool: ThreadPoolExecutor,
    report: Report,
    stop: Event,
    pace: Pace | None,
    note: Note,
) -> str | None:
    """Fetches a product; the reason why it could not be fetched, or None."""
    folder = product_folder.open(candidate)
    gone = Event()

    def one(file: RemoteFile) -> None:
        if gone.is_set():
            return
        try:
            download(opener, file, folder, report, stop, pace, note)
        except Missing:
            if file.listed:
                gone.set()
                raise
        except BaseException:
            gone.set()
            raise

    running = [pool.submit(one, file) for file in candidate.files]
    errors = [e for e in (future.exception() for future in running) if e is not None]
    for error in errors:
        if not isinstance(error, (ArchiveError, UnreadableAsset)):
            raise error
    if not errors:
        product_folder.finish(candidate)
        return None
    damaged = [e for e in errors if isinstance(e, UnreadableAsset)]
    reason = str((damaged or errors)[0])
    product_folder.quarantine(candidate, reason, lasting=bool(damaged))
    return reason


def _supersede(
    candidate: Candidate, others: Sequence[Product], product_folder: ProductFolder
) -> Sequence[LeftOut]:
    """Drops other processings of a pass and tile that has just come."""
    by = f"replaced by {candidate.id} (N{candidate.product.baseline} of {candidate.archive.name})"
    dropped = [p for p in others if p.id != candidate.id and not other_ground(p, candidate.product)]
    for product in dropped:
        product_folder.drop(product)
    return [LeftOut(product.id, by) for product in dropped]
