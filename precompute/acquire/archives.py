"""The archives, and all they differ in: the one table that searching, opening, help texts and documentation read.

Where an archive's numbers carry ESA's addition is never taken from this table: `offset.py` decides by the
product's own metadata, the Item and the pixels. The table serves the messages to users.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from terrazzo.errors import InvalidRequest
from terrazzo.precompute.products.links import without_query

Level = Literal["l1c", "l2a"]


@dataclass(frozen=True)
class Bucket:
    """How the files below an address are read.

    Attributes:
        prefix: what their addresses begin with.
        signing: `none`, `keys` (from the environment) or `planetary-computer` (tokens that are renewed).
        keys: environment variables that hold the key and the secret; the usual AWS ones are always read.
        requester_pays: the reader's account is billed for the transfer.
    """

    prefix: str
    signing: Literal["none", "keys", "planetary-computer"] = "none"
    region: str = "us-east-1"
    endpoint: str | None = None
    keys: tuple[str, str] | None = None
    requester_pays: bool = False


@dataclass(frozen=True)
class Archive:
    """A STAC API with Sentinel-2, and where its files lie.

    Attributes:
        name: for people and documents; of an archive given by its address that address without query and user.
        collections: by level, the preferred first.
        beside: role → path from the granule's folder of files that the archive holds but no Item lists.
        readable: products can be fetched from it; of one that cannot, the catalogue is a witness for `terrazzo audit`.
        credentials: what a user needs, in a sentence.
        who, files, assets, offset, sizes, extras: what it holds, in words for the documentation: who runs it, what files
            and where, names of the bands' assets, what is added to the numbers, whether Items have sizes and checksums,
            which files it has for the mask.
    """

    name: str
    url: str
    collections: Mapping[str, tuple[str, ...]]
    buckets: tuple[Bucket, ...] = ()
    beside: Mapping[str, str] = field(default_factory=dict)
    readable: bool = True
    credentials: str = "none"
    who: str = ""
    files: str = ""
    assets: str = ""
    offset: str = "decided product by product"
    sizes: str = ""
    extras: str = ""


AS_ESA = "as ESA delivers it: 1000 added since baseline 04.00"

ARCHIVES: dict[str, Archive] = {
    a.name: a
    for a in (
        Archive(
            "earth-search",
            "https://earth-search.aws.element84.com/v1",
            {
                "l2a": ("sentinel-2-c1-l2a", "sentinel-2-pre-c1-l2a", "sentinel-2-l2a"),
                "l1c": ("sentinel-2-l1c",),
            },
            buckets=(
                Bucket("s3://sentinel-s2-l1c/", "keys", "eu-central-1", requester_pays=True),
                Bucket("s3://sentinel-s2-l2a/", "keys", "eu-central-1", requester_pays=True),
            ),
            credentials="none for L2A; an AWS account that pays for the transfer (AWS_ACCESS_KEY_ID,"
            " AWS_SECRET_ACCESS_KEY) for L1C",
            who="Element 84, on AWS",
            files="COG at https:// (L1C: JP2 at s3://)",
            assets="`red`, `nir08`",
            offset="1000 taken out in sentinel-2-l2a, though Items may say both; the others as ESA",
            sizes="not in sentinel-2-l2a",
            extras="cloud probability, not in sentinel-2-l2a",
        ),
        Archive(
            "planetary-computer",
            "https://planetarycomputer.microsoft.com/api/stac/v1",
            {"l2a": ("sentinel-2-l2a",)},
            buckets=(Bucket("https://sentinel2l2a01.blob.core.windows.net/", "planetary-computer"),),
            credentials="none; PC_SDK_SUBSCRIPTION_KEY raises the limits",
            who="Microsoft",
            files="COG at https://",
            assets="`B04`, `B8A`",
            offset=AS_ESA,
            sizes="no",
            extras="none",
        ),
        Archive(
            "cdse",
            "https://stac.dataspace.copernicus.eu/v1",
            {"l2a": ("sentinel-2-l2a",), "l1c": ("sentinel-2-l1c",)},
            buckets=(
                Bucket(
                    "s3://eodata/",
                    "keys",
                    "default",
                    "https://eodata.dataspace.copernicus.eu",
                    ("CDSE_S3_ACCESS_KEY", "CDSE_S3_SECRET_KEY"),
                ),
            ),
            beside={
                "CLDPRB": "QI_DATA/MSK_CLDPRB_20m.jp2",
                "DETFOO": "QI_DATA/MSK_DETFOO_B02.jp2",
                "cams": "AUX_DATA/AUX_CAMSFO",
                "ecmwf": "AUX_DATA/AUX_ECMWFT",
            },
            credentials="S3 keys of a free account (CDSE_S3_ACCESS_KEY, CDSE_S3_SECRET_KEY)",
            who="Copernicus Data Space",
            files="JP2 at s3://",
            assets="`B04_10m`, `B8A_20m`",
            offset=AS_ESA,
            sizes="yes",
            extras="cloud probability, detector footprints",
        ),
        Archive(
            "eopf",
            "https://stac.core.eopf.eodc.eu",
            {"l2a": ("sentinel-2-l2a",), "l1c": ("sentinel-2-l1c",)},
            readable=False,
            who="ESA's EOPF sample service",
            files="Zarr, which is not read: for `audit` alone",
            assets="`SR_10m`",
            offset=AS_ESA,
            sizes="no",
            extras="none that are read",
        ),
    )
}
NAMES = ", ".join(ARCHIVES)
READABLE = ", ".join(name for name, archive in ARCHIVES.items() if archive.readable)


def find_archive(name: str, collection: str | None = None) -> Archive:
    """The archive of a name, or one for any STAC API's address.

    Files of an unknown archive at s3:// are signed where AWS_ACCESS_KEY_ID is set, and come from AWS_ENDPOINT_URL
    where that is.

    Raises:
        InvalidRequest: neither a known name nor an address.
    """
    if name in ARCHIVES:
        archive = ARCHIVES[name]
    elif name.startswith(("http://", "https://")):
        shown = without_query(name).rstrip("/")
        archive = Archive(shown, name, {"l2a": ("sentinel-2-l2a",), "l1c": ("sentinel-2-l1c",)})
    else:
        raise InvalidRequest(f"archive {name!r}: {NAMES}, or the address of a STAC API")
    if collection is None:
        return archive
    return replace(archive, collections={"l2a": (collection,), "l1c": (collection,)})


def find_archives(text: str, collection: str | None = None) -> tuple[Archive, ...]:
    """Archives that products can be fetched from, of a comma-separated list.

    Raises:
        InvalidRequest: one is unknown, or its files cannot be read; or there is none.
    """
    archives = tuple(find_archive(name.strip(), collection) for name in text.split(",") if name.strip())
    if not archives:
        raise InvalidRequest(f"--archive names none: name some of {', '.join(ARCHIVES)}")
    for archive in archives:
        if not archive.readable:
            raise InvalidRequest(
                f"{archive.name} has EOPF Zarr products, which are not read; fetch the same passes from"
                f" {READABLE} (terrazzo audit takes {archive.name} as a witness)"
            )
    return archives
