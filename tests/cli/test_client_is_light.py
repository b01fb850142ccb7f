"""The client starts fast: it imports no torch, no transformers, none of the workers' packages."""

import subprocess
import sys

HEAVY = {"torch", "transformers", "datasets", "sklearn", "accelerate", "skops"}


def imported_by(*modules: str) -> set[str]:
    code = f"import sys; {'; '.join(f'import {m}' for m in modules)}; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return {name.partition(".")[0] for name in out.split()}


def test_the_help_imports_no_large_package() -> None:
    assert not imported_by("jdq.cli.main") & (HEAVY | {"celery", "redis", "pandas", "numpy", "h5py", "pyarrow", "rich"})


def test_nothing_that_the_client_uses_imports_the_workers_packages() -> None:
    used = [
        "jdq.cli.main",
        "jdq.store.store",
        "jdq.store.datasets",
        "jdq.worker.queue.jobbook",
        "jdq.worker.queue.tickets",
    ]
    assert not imported_by(*used, "jdq.worker.queue.contract", "jdq.worker.queue.celery_app") & HEAVY
