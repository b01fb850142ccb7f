"""A Celery app with jdq's settings and one task, which runs until the test ends it: `-A tests.queue.holding_app`."""

from jdq.worker.config import read_config
from jdq.worker.queue.celery_app import celery_app
from tests.waiting import until

app = celery_app(read_config())


def hold(name: str) -> None:
    """Files in the home folder say that it runs, that it is to end, and that it has ended."""
    home = read_config().home
    with (home / "running").open("a") as file:
        file.write(f"{name}\n")
    until((home / f"end-{name}").exists)
    (home / f"ended-{name}").touch()


app.task(name="hold")(hold)
