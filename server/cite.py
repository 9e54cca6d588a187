"""How a version of a mosaic is cited: as a sentence and as BibTeX, by the hash that names all it was made of."""

from datetime import date

from terrazzo import __version__
from terrazzo.cells import digest
from terrazzo.version import Version, version_key
from terrazzo.words import counted


def citation(base: str, version: Version, provider: str) -> dict[str, str]:
    """A version's citation.

    Args:
        base: address of the server as clients see it.
        provider: who runs the server; empty if not set.

    Returns:
        text, bibtex, attribution, and the hash of the version's lock, BLAKE2b of 128 bits.
    """
    mosaic = version.mosaic_id
    title = version.config.title or mosaic
    lock = digest(version.store.read_bytes(version_key(mosaic, version.name, "lock.json"))).hex()
    scenes = {e.scene.id: e.scene.datetime.date() for p in version.periods for e in version.entries(p)}
    days = sorted(scenes.values())
    address = f"{base}/mosaics/{mosaic}/versions/{version.name}"
    span = f"{days[0]} to {days[-1]}" if days else "no scenes"
    by = provider or "Anonymous"
    what = f"{title}, version {version.name}: Sentinel-2 mosaic of {counted(len(scenes), 'scene')}, {span}"
    rest = (
        f"Made with Terrazzo {version.lock.get('software', __version__)}; lock {lock}. {version.attribution}."
    )
    year = str((days[-1] if days else date.today()).year)
    return {
        "text": f"{by}: {what}. {address}. {rest}",
        "bibtex": (
            f"@misc{{terrazzo-{mosaic}-{version.name},\n  author = {{{{{_bib(by)}}}}},\n  title = {{{_bib(what)}}},\n"
            f"  year = {{{year}}},\n  version = {{{version.name}}},\n  url = {{{address}}},\n  note = {{{_bib(rest)}}}\n}}\n"
        ),
        "attribution": version.attribution,
        "hash": lock,
    }


def _bib(text: str) -> str:
    """Text inside BibTeX's braces."""
    for character in "&%$#_":
        text = text.replace(character, f"\\{character}")
    return text.replace("{", "(").replace("}", ")")
