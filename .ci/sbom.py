"""Prints a software bill of materials (CycloneDX 1.6).

    python .ci/sbom.py                                      Terrazzo's dependencies, as they are installed here
    docker export CONTAINER | python .ci/sbom.py --image    all that an image holds: Debian's packages and Python's

Ends with an error where the licence of a Python package is none of those that Apache-2.0 software may ship with. Debian's packages come as
Debian ships them; their licences are those of /usr/share/doc/NAME/copyright.
"""

import json
import re
import sys
import tarfile
from collections.abc import Iterable, Mapping
from email.parser import Parser
from importlib.metadata import PackageMetadata, PackageNotFoundError, distribution
from typing import IO

from packaging.requirements import Requirement

EXTRAS = ("precompute", "server", "statistics")
"""Those of docker/Dockerfile."""
SILENT = {"huey": "MIT"}
"""Licences of packages whose metadata names none: as the LICENSE file in the package says."""
MAY_SHIP = re.compile(
    r"\b(0BSD|Apache|BSD|CC0|HPND|ISC|MIT|MPL|PSF|Python Software Foundation|Unlicense|Zlib|CMU)\b|public domain",
    re.IGNORECASE,
)


def licence_of(meta: PackageMetadata) -> str:
    """The licence as a package's metadata says it: the expression, else the classifiers, else the first line."""
    if expression := meta.get("License-Expression"):
        return expression
    named = [c.rpartition(" :: ")[2] for c in meta.get_all("Classifier") or () if c.startswith("License ::")]
    plain = (meta.get("License") or "").strip().partition("\n")[0]
    return " AND ".join(named) or plain or SILENT.get(meta["Name"], "unknown")


def normal(name: str) -> str:
    """A package's name as indexes write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> dict[str, PackageMetadata]:
    """Metadata of Terrazzo's dependencies by name, with theirs, as far as they are installed for this Python."""
    packages: dict[str, PackageMetadata] = {}
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
        packages[normal(package.metadata["Name"])] = package.metadata
        for text in package.requires or ():
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in (*extras, "")):
                waiting.append((needed.name, frozenset(needed.extras)))
    return packages


def of_image(stream: IO[bytes]) -> tuple[dict[str, PackageMetadata], list[dict]]:
    """Metadata of the Python packages of an image by name, and its Debian packages as components.

    Args:
        stream: the image's file system as `docker export` writes it, a tar.
    """
    python: dict[str, PackageMetadata] = {}
    status, release = "", ""
    copyrights: dict[str, str] = {}
    shared: dict[str, str] = {}
    with tarfile.open(fileobj=stream, mode="r|*") as files:
        for member in files:
            name = member.name.removeprefix("./")
            licences = re.fullmatch(r"usr/share/doc/([^/]+)/copyright", name)
            if member.issym() and (other := re.fullmatch(r"usr/share/doc/([^/]+)", name)):
                shared[other[1]] = member.linkname.rpartition("/")[2]
            wanted = name in ("var/lib/dpkg/status", "usr/lib/os-release") or licences
            about = re.search(r"(site|dist)-packages/[^/]+\.dist-info/METADATA$", name)
            if not (wanted or about) or not member.isreg():
                continue
            content = files.extractfile(member)
            assert content
            text = content.read().decode(errors="replace")
            if about:
                meta = Parser().parsestr(text)
                python[normal(meta["Name"])] = meta
            elif licences:
                copyrights[licences[1]] = text
            elif name.endswith("status"):
                status = text
            else:
                release = text
    copyrights |= {name: copyrights[other] for name, other in shared.items() if other in copyrights}
    return python, debian(status, release, copyrights)


def debian(status: str, release: str, copyrights: Mapping[str, str]) -> list[dict]:
    """The packages of dpkg's status file as components, with the licences that their copyright files name."""
    number = re.search(r'^VERSION_ID="?([\w.]+)', release, re.MULTILINE)
    distro = f"&distro=debian-{number[1]}" if number else ""
    components = []
    for entry in status.strip().split("\n\n"):
        fields = Parser().parsestr(entry)
        if not (fields["Status"] or "").endswith(" installed"):
            continue
        name, version = fields["Package"], fields["Version"]
        text = copyrights.get(name, "")
        named = re.findall(r"^License: *(\S.*?) *$", text, re.MULTILINE)
        named += re.findall(r"/usr/share/common-licenses/([\w.-]*\w)", text)
        purl = f"pkg:deb/debian/{name}@{version}?arch={fields['Architecture']}{distro}"
        licences = list(dict.fromkeys(named)) or ["see the copyright file"]
        components.append(component(name, version, purl, licences))
    return components


def component(name: str, version: str, purl: str, licences: Iterable[str]) -> dict:
    """One entry of the document."""
    named = [{"license": {"name": licence}} for licence in licences]
    return {"type": "library", "name": name, "version": version, "purl": purl, "licenses": named}


def main() -> None:
    """Prints the document; names licences that may not be shipped."""
    python, system = of_image(sys.stdin.buffer) if "--image" in sys.argv[1:] else (installed(), [])
    own = python.pop("terrazzo", None)
    components = [
        component(name, meta["Version"], f"pkg:pypi/{name}@{meta['Version']}", [licence_of(meta)])
        for name, meta in sorted(python.items())
    ]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "components": [*components, *system],
    }
    if own:
        document["metadata"] = {
            "component": {"type": "application", "name": "terrazzo", "version": own["Version"]}
        }
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
    doubtful = [
        f"{n}: {licence_of(meta)}" for n, meta in python.items() if not MAY_SHIP.search(licence_of(meta))
    ]
    if doubtful:
        raise SystemExit("licences to look at before a release: " + "; ".join(sorted(doubtful)))


if __name__ == "__main__":
    main()
