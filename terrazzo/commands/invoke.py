"""Runs one command from another, as `terrazzo` would."""

from collections.abc import Sequence

import click

from terrazzo.errors import TerrazzoError


def run_command(ctx: click.Context, arguments: Sequence[object]) -> int:
    """Runs another command of the group, and returns its exit code.

    Raises:
        TerrazzoError, ClickException: what that command raises.
    """
    group = ctx.find_root().command
    if not isinstance(group, click.Group):
        raise TerrazzoError(f"start it as `terrazzo {ctx.info_name}`")
    code = group.main([str(a) for a in arguments], prog_name="terrazzo", standalone_mode=False)
    # A command that sets no code returns what its function does, which is nothing.
    return code if isinstance(code, int) else 0
