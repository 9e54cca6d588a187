"""`terrazzo versions` and `terrazzo diff`: what versions a mosaic has, and how two of them differ."""

import json
from typing import Any

import click

from terrazzo.words import counted


@click.command()
@click.option("--store", "url", required=True, metavar="STORE", help="folder or address of the store")
@click.option("--mosaic", default="mosaic", show_default=True, help="name of the mosaic")
@click.option("--json", "as_json", is_flag=True, help="as JSON")
def versions(url: str, mosaic: str, as_json: bool) -> None:
    """Lists the versions of a mosaic, the oldest first."""
    from terrazzo.store import Store
    from terrazzo.version import (
        HISTORY,
        KEPT_BACK,
        PINS,
        current_version,
        history,
        read_collection,
        version_key,
    )

    store = Store(url)
    current, document = current_version(store, mosaic), read_collection(store, mosaic)
    published = {h["version"]: h["published"] for h in document.get(HISTORY, ())}
    kept_back = {k["version"]: "; ".join(k["why"]) for k in document.get(KEPT_BACK, ())}
    rows: list[dict[str, Any]] = [
        {
            "version": name,
            "published": published.get(name),
            "current": name == current,
            "kept_back": kept_back.get(name),
            "pinned": name in document.get(PINS, ()),
            "scenes": len(
                {
                    s["id"]
                    for p in store.read_json(version_key(mosaic, name, "lock.json"))["periods"]
                    for s in p["scenes"]
                }
            ),
        }
        for name in history(store, mosaic)
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for r in rows:
        marks = ", ".join(m for m in ("current", "pinned") if r[m])
        if r["kept_back"]:
            marks = ", ".join(m for m in (marks, f"kept back: {r['kept_back']}") if m)
        when = r["published"] or ("never published     " if r["kept_back"] else "time unknown        ")
        click.echo(f"{r['version']}  {when}  {counted(r['scenes'], 'scene')}{f'  {marks}' if marks else ''}")


@click.command()
@click.argument("before", metavar="V1")
@click.argument("after", metavar="V2")
@click.option("--store", "url", required=True, metavar="STORE", help="folder or address of the store")
@click.option("--mosaic", default="mosaic", show_default=True, help="name of the mosaic")
@click.option("--json", "as_json", is_flag=True, help="as JSON, every window named")
def diff(before: str, after: str, url: str, mosaic: str, as_json: bool) -> None:
    """Lists the scenes added and removed between two versions, and the windows that changed.

    V1 and V2 are names of versions, or their first digits; `terrazzo versions` lists them.

    \b
    terrazzo diff 3f2a 91bc --store demo
    """
    from terrazzo.diff import difference
    from terrazzo.store import Store
    from terrazzo.version import known_version

    store = Store(url)
    change = difference(known_version(store, mosaic, before), known_version(store, mosaic, after))
    if as_json:
        click.echo(json.dumps(change.as_json(), indent=1))
        return
    for line in change.lines():
        click.echo(line)
