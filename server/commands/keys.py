"""`terrazzo keys`: adds, lists and revokes API keys."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from terrazzo.server.keys import Keys


@click.group()
@click.option("--store", envvar="TERRAZZO_STORE", required=True, metavar="STORE", help="store of the server")
@click.option(
    "--state",
    envvar="TERRAZZO_STATE",
    type=click.Path(path_type=Path),
    help="folder of the keys [default: STORE-state]",
)
@click.pass_context
def keys(ctx: click.Context, store: str, state: Path | None) -> None:
    """Adds, lists and revokes API keys of a server; TERRAZZO_PROTECT decides which requests need one.

    \b
    terrazzo keys --store demo add "Anna's GIS" --scope tiles --scope export
    terrazzo keys --store demo list
    terrazzo keys --store demo revoke 1a2b3c4d
    """
    from terrazzo.server.keys import Keys
    from terrazzo.server.settings import Settings

    os.environ["TERRAZZO_STORE"] = store
    settings = Settings()  # type: ignore[call-arg]
    ctx.obj = Keys(state or settings.state_folder())


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="tiles|export|admin",
    required=True,
    help="what the key opens; repeat the option for more",
)
@click.option(
    "--mosaic",
    "mosaics",
    multiple=True,
    help="mosaic that the key opens; repeat the option for more [default: all]",
)
@click.option("--rate", type=click.IntRange(1), help="requests a minute, in each process of the server")
@click.option("--samples", type=click.IntRange(1), help="pixels times bands that the key may export in a day")
@click.pass_obj
def add(
    known: "Keys",
    name: str,
    scopes: tuple[str, ...],
    mosaics: tuple[str, ...],
    rate: int | None,
    samples: int | None,
) -> None:
    """Adds a key for NAME and prints it once: only its hash is stored.

    The command also prints the folder of the hash. A server with that folder as TERRAZZO_STATE accepts the key.
    """
    text = known.add(name, scopes, mosaics, rate, samples)
    click.echo(
        f"written to {known.path}; a server with TERRAZZO_STATE={known.path.parent} accepts the key",
        err=True,
    )
    click.echo(text)


@keys.command("list")
@click.pass_obj
def list_(known: "Keys") -> None:
    """Lists the keys, without their secrets."""
    click.echo(f"keys in {known.path}:", err=True)
    for key in known.all():
        limits = [f"{key.rate} requests/min"] if key.rate else []
        limits += [f"{key.samples} samples/day"] if key.samples else []
        opens = f"{','.join(key.scopes)} of {','.join(key.mosaics) or 'all mosaics'}"
        click.echo("  ".join([key.id, key.created, opens, *limits, key.name]))


@keys.command()
@click.argument("id")
@click.pass_obj
def revoke(known: "Keys", id: str) -> None:
    """Revokes a key; running servers refuse it from the next request on."""
    click.echo(f"revoked {id} ({known.revoke(id).name})")
