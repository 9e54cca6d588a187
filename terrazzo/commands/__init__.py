"""The table of commands: what `terrazzo --help` shows, and where each command's code is.

A row is all that the help reads, so that it imports no command. Other packages add commands through entry points
of the group `terrazzo.commands`.
"""

from typing import NamedTuple


class CommandRow(NamedTuple):
    """A command.

    Attributes:
        group: heading under which the help lists it.
        line: its line in the help, at most 66 characters.
        entry: MODULE:NAME of the click command.
        extra: what `pip install 'terrazzo[EXTRA]'` must have installed to run it; empty where nothing more is needed.
    """

    group: str
    line: str
    entry: str
    extra: str


_PRECOMPUTE, _SERVER = "terrazzo.precompute.commands", "terrazzo.server.commands"
_VERSIONS = f"{_PRECOMPUTE}.versions"

COMMANDS: dict[str, CommandRow] = {
    "demo": CommandRow(
        "Get",
        "Precompute the sample area and serve it on a map.",
        "terrazzo.commands.demo:demo",
        "precompute,server",
    ),
    "get": CommandRow(
        "Get", "Fetch, precompute and export an area in one go.", f"{_PRECOMPUTE}.get:get", "precompute"
    ),
    "live": CommandRow(
        "Get",
        "See a place early, while its mosaic is precomputed.",
        "terrazzo.commands.live:live",
        "precompute,server",
    ),
    "plan": CommandRow(
        "Get", "Estimate a mosaic's scenes, bytes and hours.", f"{_PRECOMPUTE}.plan:plan", "precompute"
    ),
    "acquire": CommandRow(
        "Get",
        "Fetch the products of an area from a public archive.",
        f"{_PRECOMPUTE}.acquire:acquire",
        "precompute",
    ),
    "watch": CommandRow(
        "Get",
        "Keep a store filled: fetch and precompute what is new.",
        f"{_PRECOMPUTE}.watch:watch",
        "precompute",
    ),
    "audit": CommandRow(
        "Get",
        "List the passes that archives lack, hold twice or hold newer.",
        f"{_PRECOMPUTE}.audit:audit",
        "precompute",
    ),
    "precompute": CommandRow(
        "Build",
        "Turn products into scenes and a published version.",
        f"{_PRECOMPUTE}.precompute:precompute",
        "precompute",
    ),
    "publish": CommandRow(
        "Build",
        "Publish a new version, or go back to an earlier one.",
        f"{_VERSIONS}:publish",
        "precompute",
    ),
    "rebuild": CommandRow(
        "Build",
        "Compute a version again from its lock and its products.",
        f"{_VERSIONS}:rebuild",
        "precompute",
    ),
    "mask": CommandRow(
        "Build", "Classify the clouds and shadows of any image.", f"{_PRECOMPUTE}.mask:mask", "precompute"
    ),
    "train": CommandRow(
        "Build",
        "Train the cloud classifier on labelled pixels.",
        f"{_PRECOMPUTE}.train:train",
        "precompute",
    ),
    "serve": CommandRow(
        "Serve", "Serve tiles, WMTS, values, GeoTIFF and a map.", f"{_SERVER}.serve:serve", "server"
    ),
    "work": CommandRow(
        "Serve", "Carry out the exports that a server was asked for.", f"{_SERVER}.work:work", "server"
    ),
    "seed": CommandRow(
        "Serve", "Fill a server's tile cache ahead of requests.", f"{_SERVER}.seed:seed", "server"
    ),
    "warm": CommandRow(
        "Serve", "Compile what a server runs ahead of its start.", f"{_SERVER}.warm:warm", "server"
    ),
    "keys": CommandRow(
        "Serve", "Add, list and revoke API keys of a server.", f"{_SERVER}.keys:keys", "server"
    ),
    "mcp": CommandRow(
        "Serve", "Open a server's mosaics to assistants (MCP).", "terrazzo.commands.mcp:mcp", "mcp"
    ),
    "export": CommandRow(
        "Use", "Write a part of a mosaic as GeoTIFF or map tiles.", "terrazzo.commands.export:export", ""
    ),
    "series": CommandRow(
        "Use", "Write an area day by day, without gaps.", "terrazzo.commands.series:series", ""
    ),
    "statistics": CommandRow(
        "Use",
        "Write a table of statistics of polygons.",
        "terrazzo.commands.statistics:statistics",
        "statistics",
    ),
    "inspect": CommandRow(
        "Use", "Show a scene's corrections and its mask.", f"{_PRECOMPUTE}.inspect:inspect", "precompute"
    ),
    "film": CommandRow(
        "Use", "Draw the algorithm's steps as an animated WebP.", f"{_PRECOMPUTE}.film:film", "precompute"
    ),
    "versions": CommandRow(
        "Care", "List the versions of a mosaic.", "terrazzo.commands.versions:versions", ""
    ),
    "diff": CommandRow(
        "Care", "List what changed between two versions.", "terrazzo.commands.versions:diff", ""
    ),
    "exclude": CommandRow(
        "Care",
        "Leave a scene, or a part of it, out of the next versions.",
        f"{_VERSIONS}:exclude",
        "precompute",
    ),
    "include": CommandRow(
        "Care", "Take an excluded scene back into the next versions.", f"{_VERSIONS}:include", "precompute"
    ),
    "pin": CommandRow("Care", "Keep a version from being pruned.", f"{_VERSIONS}:pin", "precompute"),
    "unpin": CommandRow("Care", "Let a version be pruned again.", f"{_VERSIONS}:unpin", "precompute"),
    "prune": CommandRow(
        "Care", "Remove old versions and files that none refers to.", f"{_VERSIONS}:prune", "precompute"
    ),
    "store": CommandRow("Care", "Verify a store, or upgrade its format.", f"{_VERSIONS}:store", "precompute"),
}
