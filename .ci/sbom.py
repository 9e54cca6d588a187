"""Prints a software bill of materials (CycloneDX 1.6) of what the image installs beside Debian's packages: `python .ci/sbom.py`.

Ends with an error where a licence is none of those that Apache-2.0 software may ship with. Debian's own packages are listed
by `dpkg -l` in the image.
"""

import json
import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement

EXTRAS = ("precompute", "server", "statistics")
"""Those of docker/Dockerfile."""
SILENT = {"huey": "MIT"}
"""Licences of packages whose metadata names none: as the LICENSE file in the package says."""
MAY_SHIP = re.compile(
    r"\b(0BSD|Apache|BSD|CC0|HPND|ISC|MIT|MPL|PSF|Python Software Foundation|Unlicense|Zlib|CMU)\b|public domain",
    re.IGNORECASE,
)


def licence_of(package: Distribution) -> str:
    """The licence as the package's metadata says it: the expression, else the classifiers, else the first line."""
    meta = package.metadata
    if expression := meta.get("License-Expression"):
        return expression
    named = [c.rpartition(" :: ")[2] for c in meta.get_all("Classifier") or () if c.startswith("License ::")]
    plain = (meta.get("License") or "").strip().partition("\n")[0]
    return " AND ".join(named) or plain or SILENT.get(meta["Name"], "unknown")


def installed() -> dict[str, Distribution]:
    """Terrazzo's dependencies by name, with theirs, as far as they are installed for this Python."""
    packages: dict[str, Distribution] = {}
    waiting = [("terrazzo", frozenset(EXTRAS))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        packages[re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()] = package
        for text in package.requires or ():
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in (*extras, "")):
                waiting.append((needed.name, frozenset(needed.extras)))
    return packages


def main() -> None:
    """Prints the document; names licences that may not be shipped."""
    packages = installed()
    components = [
        {
            "type": "library",
            "name": name,
            "version": package.version,
            "purl": f"pkg:pypi/{name}@{package.version}",
            "licenses": [{"license": {"name": licence_of(package)}}],
        }
        for name, package in sorted(packages.items())
        if name != "terrazzo"
    ]
    own = {"type": "application", "name": "terrazzo", "version": packages["terrazzo"].version}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": own},
        "components": components,
    }
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
    doubtful = [f"{n}: {licence_of(p)}" for n, p in packages.items() if not MAY_SHIP.search(licence_of(p))]
    if doubtful:
        raise SystemExit("licences to look at before a release: " + "; ".join(sorted(doubtful)))


if __name__ == "__main__":
    main()
