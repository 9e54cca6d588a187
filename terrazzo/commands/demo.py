"""`terrazzo demo`: the whole way over the sample area."""

import click

from terrazzo.commands.invoke import run_command


@click.command()
@click.option(
    "--store", default="terrazzo-demo", show_default=True, metavar="STORE", help="folder of the demo's store"
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free one"
)
@click.pass_context
def demo(ctx: click.Context, store: str, port: int) -> None:
    """Precomputes the sample area that comes with Terrazzo, and serves it.

    Ten real Sentinel-2 scenes around Zagreb become a mosaic; open the address that is printed.
    """
    for arguments in (
        ["precompute", "sample", "--store", store],
        ["serve", "--store", store, "--port", str(port)],
    ):
        run_command(ctx, arguments)
