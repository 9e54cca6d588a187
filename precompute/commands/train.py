"""`terrazzo train`: fits the cloud classifiers again, also with labels of your own, and prints what changed."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import pandas as pd


LEVELS = ("L1C", "L2A")


@click.command()
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="folder with labelled/ and imagery/",
)
@click.option(
    "--add",
    "added",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="labels of your own: a parquet file, described below",
)
@click.option(
    "--level", type=click.Choice(LEVELS, case_sensitive=False), help="one level only [default: both]"
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(__file__).parent.parent / "clouds",
    help="folder for model_*.npz [default: where terrazzo reads them]",
)
@click.option(
    "--measure/--no-measure",
    default=True,
    show_default=True,
    help="leave each place out in turn and print the scores",
)
def train(data: Path, added: Path | None, level: str | None, output: Path, measure: bool) -> None:
    """Trains the cloud classifiers and prints their scores on places left out of the training.

    \b
    --add reads a table with one row for each pixel:
      B01 … B12   reflectance · 10,000 of the level it is for, whichever bands you have
      class       1 land, 2 water, 3 snow, 4 cloud, 5 thin cloud, 6 cloud shadow
      place       name of the place; scores leave whole places out
      level       L1C or L2A; L1C without this column

    With --add, each place of yours is judged by the classifier as it is and by one fitted with your other places.

    \b
    terrazzo train --data DATA --add labels.parquet --output models
    """
    from terrazzo.precompute.clouds.train.fit import Trainer, fit_all
    from terrazzo.precompute.clouds.train.measure import changes, unseen
    from terrazzo.precompute.clouds.train.samples import own_labels

    output.mkdir(parents=True, exist_ok=True)
    for one in (level.upper(),) if level else LEVELS:
        own = own_labels(added, one) if added else None
        trainer = Trainer(data, one, own)
        model = fit_all(trainer, output / f"model_{one.lower()}.npz")
        if own is not None:
            _print_scores(f"{one}: your places, before and after", changes(trainer, own, model))
        if measure:
            _print_scores(f"{one}: each place left out, mean and standard error over places", unseen(trainer))


def _print_scores(title: str, table: "pd.DataFrame") -> None:
    click.echo(f"{title}\n{table.to_string()}\n")
