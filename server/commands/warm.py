"""`terrazzo warm`: compiles the kernels of a server ahead of its start."""

import click


@click.command()
def warm() -> None:
    """Compiles the code that a server runs, into numba's cache folder.

    Without it the first pictures after an installation wait some seconds for the compiler. The folder is NUMBA_CACHE_DIR, or
    beside the program, or the user's cache. What was compiled for another kind of processor is compiled again.

    \b
    terrazzo warm
    NUMBA_CACHE_DIR=/opt/terrazzo/kernels terrazzo warm
    """
    from terrazzo.server.warm import compile_kernels

    compile_kernels()
