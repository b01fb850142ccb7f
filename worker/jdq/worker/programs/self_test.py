"""Tests whether a device computes correctly: ``python -m jdq.worker.programs.self_test cuda``."""

import click

from jdq.worker.encoder.self_test import DeviceFault, check_device
from jdq.worker.queue.exit_codes import ExitCode, exit_on_error


@click.command()
@click.argument("device")
@exit_on_error({DeviceFault: ExitCode.FAILED})
def self_test(device: str) -> None:
    """Compare a matrix product of DEVICE with the exact one. Exit code 1 if it differs or cannot be computed."""
    check_device(device)


if __name__ == "__main__":
    self_test()
