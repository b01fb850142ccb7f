"""A power cut: a file system that forgets what was not flushed, in the middle of a writer's work (root, Linux)."""

import fcntl
import os
import random
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from jdq.store import open_store
from jdq.store.keys import text_keys
from jdq.store.maintenance.verify import verify
from jdq.store.spaces.feature_space import Space
from tests.faults.forked import fork
from tests.store.fake_features import fake_features, fake_space, put_texts, sentences

ROUNDS = int(os.environ.get("JDQ_POWER_CUTS", "3"))
FS_IOC_SHUTDOWN = 0x8004587D
WITHOUT_FLUSHING_THE_LOG = struct.pack("I", 2)


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[None]:
    done = subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no loop device may be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def cut_power(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(handle, FS_IOC_SHUTDOWN, WITHOUT_FLUSHING_THE_LOG)
    finally:
        os.close(handle)


def make_image(kind: str, image: Path) -> None:
    program = shutil.which(f"mkfs.{kind}")
    if os.geteuid() != 0 or program is None:
        pytest.skip(f"needs root and mkfs.{kind}")
    with image.open("wb") as file:
        file.truncate(400 << 20)
    subprocess.run([program, "-q", image], check=True)


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_what_was_acknowledged_survives_a_power_cut(kind: str, tmp_path: Path) -> None:
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    make_image(kind, image)
    random_ = random.Random(5)
    acknowledged: list[int] = []
    for round_ in range(ROUNDS):
        with mounted(image, folder):
            space = assert_sound(folder, acknowledged)
            os.sync()
            child = fork(writer(space, 1000 * round_))
            time.sleep(random_.uniform(0.02, 0.2))
            cut_power(folder)
            acknowledged += child.kill()
    with mounted(image, folder):
        assert_sound(folder, acknowledged)
    assert acknowledged


def assert_sound(disk: Path, acknowledged: list[int]) -> Path:
    """Visible shards are complete, and all that were acknowledged are visible; the space's folder."""
    store = open_store(disk / "store")
    assert verify(store).sound
    space = store.space(fake_space(256))
    if texts := [text for number in acknowledged for text in sentences(100, 100 * number)]:
        np.testing.assert_array_equal(space.read(text_keys(texts)), fake_features(texts, 256))
    return space.path


def writer(path: Path, first: int) -> Callable[[Callable[[int], None]], None]:
    def work(acknowledge: Callable[[int], None]) -> None:
        space = Space(path)
        for number in range(first, first + 1000):
            put_texts(space, sentences(100, 100 * number))
            acknowledge(number)

    return work
