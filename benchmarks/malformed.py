"""What becomes of products with nonsense in their documents: `python -m benchmarks.malformed [--count 2000] [--seed 0]`.

Makes one small product, changes values of its Item, its granule metadata or its product metadata, or the form of its images, and makes
the scene.
Prints how many were left out with a reason, how many came out with the true pixels, how many off the truth with a note, and
fails where an exception passed or pixels are off the truth without a note.
"""

import json
import random
import shutil
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import rasterio

from terrazzo.bands import FOUR, NODATA
from terrazzo.errors import ProductError
from terrazzo.precompute.products.angles import read_angles
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.products.offset import read_xml_offset
from terrazzo.precompute.products.product import Product
from terrazzo.precompute.scene.make import ingest
from terrazzo.scene import read_item
from terrazzo.store import Store, StoreConfig, create_store
from tests.world.forms import reformed
from tests.world.mutate import mutated, mutated_text
from tests.world.sky import View
from tests.world.worlds import make_world

PRODUCT_XML = (
    "<n1:Level-2A_User_Product xmlns:n1='urn:simulated'><QUANTIFICATION_VALUES_LIST>"
    '<BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>'
    "<BOA_ADD_OFFSET_VALUES_LIST>"
    + "".join(f'<BOA_ADD_OFFSET band_id="{k}">-1000</BOA_ADD_OFFSET>' for k in range(13))
    + "</BOA_ADD_OFFSET_VALUES_LIST><AOT_RETRIEVAL_METHOD>CAMS</AOT_RETRIEVAL_METHOD>"
    "<GRANULE_MEAN_AOT>0.1</GRANULE_MEAN_AOT><GRANULE_MEAN_WV>1.2</GRANULE_MEAN_WV></n1:Level-2A_User_Product>"
)
OFF = 0.002
"""Reflectance by which a pixel is off the truth."""


class Fuzz:
    """A product of known pixels, and what becomes of it when its documents change."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clean = root / "clean"
        make_world(self.clean, dates=1, size=(48, 60), view=View())
        (item,) = self.clean.glob("*.json")
        self.name = item.stem
        document = json.loads(item.read_text())
        (self.clean / self.name / "MTD_MSIL2A.xml").write_text(PRODUCT_XML)
        document["assets"]["product_metadata"] = {"href": f"./{self.name}/MTD_MSIL2A.xml"}
        item.write_text(json.dumps(document))
        self.document: dict[str, Any] = document
        self.granule = (self.clean / self.name / "granule_metadata.xml").read_text()
        self.seen: dict[str, str] = {}
        self.truth, self.notes = self.scene(find_products(self.clean).products[0])

    def scene(self, product: Product) -> tuple[np.ndarray, list[str]]:
        """(band, row, col) reflectance of the scene of a product, NaN without data, and its notes."""
        folder = Path(tempfile.mkdtemp(dir=self.root))
        config = StoreConfig(pixel=10.0, mask_pixel=20.0, window=64, bands=FOUR)
        store: Store = create_store(str(folder), config)
        made = ingest(product, store)
        layers = []
        for band in FOUR:
            with rasterio.open(store.raster_path(made.band_key(band))) as dataset:
                values = dataset.read(1)
            layers.append(np.where(values == NODATA, np.nan, values * 1e-4))
        notes = read_item(store, made)["properties"]["terrazzo:notes"]
        shutil.rmtree(folder)
        return np.stack(layers), list(notes)

    def one(self, chance: random.Random) -> tuple[str, str]:
        """What became of a changed copy, and what was changed."""
        folder = self.root / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.clean, folder)
        kind = chance.choice(("item", "item", "granule", "product", "images"))
        if kind == "images":
            what = reformed(folder / self.name, chance)
            if chance.random() < 0.3:
                document, done = mutated(self.document, chance)
                (folder / f"{self.name}.json").write_text(json.dumps(document))
                what += f"; {done}"
        elif kind == "item":
            document, done = mutated(self.document, chance, chance.choice((1, 1, 2, 4)))
            (folder / f"{self.name}.json").write_text(json.dumps(document))
            what = "; ".join(f"{'/'.join(map(str, place))} = {value!r}" for place, value in done)
        else:
            file = folder / self.name / ("granule_metadata.xml" if kind == "granule" else "MTD_MSIL2A.xml")
            text, what = mutated_text(self.granule if kind == "granule" else PRODUCT_XML, chance)
            file.write_text(text)
        try:
            return self._outcome(folder, known=kind != "images"), f"{kind}: {what}"
        except Exception as error:
            return f"exception {type(error).__name__}: {error}", f"{kind}: {what}"

    def _outcome(self, folder: Path, *, known: bool) -> str:
        """What became of a product.

        Args:
            known: its images are the true ones, so that equal metadata have equal outcomes.
        """
        found = find_products(folder)
        if not found.products:
            return (
                "left out"
                if found.left_out and all(o.reason for o in found.left_out)
                else "lost without a word"
            )
        (product,) = found.products
        if not known:
            return self._made(product)
        key = _relevant(product)
        if key not in self.seen:
            self.seen[key] = self._made(product)
        return self.seen[key]

    def _made(self, product: Product) -> str:
        try:
            values, notes = self.scene(product)
        except ProductError:
            return "left out"
        same = values.shape == self.truth.shape and np.array_equal(np.isnan(values), np.isnan(self.truth))
        off = 1.0 if not same else float(np.nanmean(np.abs(values - self.truth) > OFF))
        if off <= 0.001:
            return "true pixels"
        return "off the truth with a note" if set(notes) - set(self.notes) else f"silently wrong ({off:.0%})"


def _relevant(product: Product) -> str:
    """All of a product that its pixels can depend on, for scenes that were made already."""
    plain = replace(product, href="", outline=None, generated=product.datetime, strip="", named={}, item="")
    read: list[object] = []
    for role, reader in (("granule_metadata", read_angles), ("product_metadata", read_xml_offset)):
        try:
            read.append(reader(product.assets[role]) if role in product.assets else None)  # type: ignore[operator]
        except Exception as error:
            read.append(type(error).__name__)
    with np.printoptions(threshold=100_000):
        return repr((plain, read))


def run(count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """How often each outcome came, and the changes that must not have passed."""
    chance, outcomes, bad = random.Random(seed), Counter[str](), []
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(Path(folder))
        for _ in range(count):
            outcome, what = fuzz.one(chance)
            outcomes[outcome.split(" (")[0].split(":")[0]] += 1
            if outcome.startswith(("exception", "silently", "lost")):
                bad.append(f"{outcome}\n    {what[:300]}")
    return outcomes, bad


@click.command()
@click.option("--count", default=2000, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(count: int, seed: int) -> None:
    """Print the outcomes; exit code 1 where something passed that must not."""
    outcomes, bad = run(count, seed)
    for outcome, number in outcomes.most_common():
        click.echo(f"{number:6d}  {outcome}")
    for line in bad:
        click.echo(line)
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
