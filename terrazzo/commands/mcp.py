"""`terrazzo mcp`: the mosaics of a server for assistants that speak the Model Context Protocol."""

import click


@click.command()
@click.option(
    "--url", default="http://127.0.0.1:8000", show_default=True, help="address of a Terrazzo server"
)
@click.option("--key", envvar="TERRAZZO_KEY", default=None, help="API key, if the server needs one")
def mcp(url: str, key: str | None) -> None:
    """Lets an assistant search mosaics, read values and statistics, see pictures and estimate exports.

    It speaks the Model Context Protocol over standard input and output, and writes nothing. An assistant's settings name
    the command: {"command": "terrazzo", "args": ["mcp", "--url", "http://127.0.0.1:8000"]}
    """
    from terrazzo.assistant import server

    server(url, key).run("stdio")
