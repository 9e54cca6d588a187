"""`terrazzo work`: carries out export jobs."""

import os
import threading

import click


@click.command()
@click.option(
    "--store", envvar="TERRAZZO_STORE", required=True, metavar="STORE", help="folder or address of the store"
)
@click.option("--until-parent-ends", is_flag=True, hidden=True)
def work(store: str, until_parent_ends: bool) -> None:
    """Runs the export jobs of a server.

    `terrazzo serve` starts one by itself; give it --no-worker to run this elsewhere. There is one worker, unless
    TERRAZZO_JOBS_URL names a queue that several can share, such as redis://HOST:6379/0.
    """
    from terrazzo.server.jobs import Jobs
    from terrazzo.server.logs import configure
    from terrazzo.server.settings import Settings
    from terrazzo.server.worker import end_with, single_worker, work_on

    os.environ["TERRAZZO_STORE"] = store
    settings = Settings()  # type: ignore[call-arg]
    configure(settings.log)
    jobs = Jobs(settings.state_folder(), settings.jobs_url)
    if until_parent_ends:
        threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    with single_worker(jobs, wait=until_parent_ends):
        work_on(jobs, settings)
