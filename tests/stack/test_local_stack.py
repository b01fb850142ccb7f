"""`jdq up` and `jdq down`: harmless twice, no process left, and a clear error when something does not start."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.stack.conftest import JDQ, Stack, computing, gpu_workers_of
from tests.stack.test_queue import slow, submitted
from tests.waiting import until


def processes_of(stack: Stack) -> list[psutil.Process]:
    """Every live process that belongs to the stack's state folder."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = process.environ().get("JDQ_HOME") == str(stack.home) or str(stack.home) in " ".join(
                process.cmdline()
            )
            if mine and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    return found


def test_up_twice_is_harmless_and_down_leaves_nothing_running(stack: Stack) -> None:
    stack.run("up")
    workers = stack.json("workers")
    assert {(w["name"].split("@")[0], w["queue"], w["state"]) for w in workers} == {
        ("gpu-1", "gpu", "idle"),
        ("cpu-1", "cpu", "idle"),
        ("cpu-2", "cpu", "idle"),
    }
    assert "already running" in stack.run("up").stderr
    assert [w["pid"] for w in stack.json("workers")] == [w["pid"] for w in workers]
    assert processes_of(stack)
    stack.run("down")
    assert processes_of(stack) == []
    assert "nothing was running" in stack.run("down").stderr
    assert "try: jdq up" in stack.run("workers", code=3).stderr


def kill_supervisor(stack: Stack) -> None:
    supervisor = next(p for p in processes_of(stack) if "jdq.cli.stack.supervisor" in p.cmdline())
    supervisor.kill()
    supervisor.wait(5)


def pids(stack: Stack) -> dict[str, int]:
    """The processes that the supervisor has written down."""
    children = json.loads(state_of(stack))["children"]
    return {name: child["pid"] for name, child in children.items()}


def test_up_takes_over_what_a_killed_supervisor_left_and_running_chunks_continue(stack: Stack, tmp_path: Path) -> None:
    stack.run("up", "--gpu-workers", "2")
    before = pids(stack)
    job = submitted(stack, tmp_path, "table", [f"text {n} [slow]" for n in range(300)])
    gpu_workers_of(stack, job)
    kill_supervisor(stack)
    psutil.Process(before["cpu-1"]).kill()
    said = stack.run("up", "--gpu-workers", "2").stderr
    assert "took over redis, gpu-1, gpu-2, cpu-2 from a supervisor that had died" in said
    after = pids(stack)
    assert {name for name in before if before[name] != after[name]} == {"cpu-1"}
    stack.run("watch", job)
    assert stack.json("status", job)["attempts"] == []

    psutil.Process(after["gpu-1"]).kill()
    until(lambda: pids(stack)["gpu-1"] != after["gpu-1"], why="the new supervisor restarts what it took over")
    kill_supervisor(stack)
    stack.run("up", "--gpu-workers", "1")
    assert set(pids(stack)) == {"redis", "gpu-1", "cpu-1", "cpu-2"}
    assert after["gpu-2"] not in [process.pid for process in processes_of(stack)]
    stack.run("down")
    assert processes_of(stack) == []


def test_up_changes_the_number_of_workers_and_running_chunks_continue(stack: Stack, tmp_path: Path) -> None:
    stack.run("up")
    before = pids(stack)
    job = submitted(stack, tmp_path, "table", [f"text {n} [slow]" for n in range(300)])
    gpu_workers_of(stack, job)
    assert "up: 1 gpu worker, 3 cpu workers" in stack.run("up", "--cpu-workers", "3").stderr
    more = pids(stack)
    assert set(more) == {"redis", "gpu-1", "cpu-1", "cpu-2", "cpu-3"}
    assert {name: more[name] for name in before} == before
    assert "already running: 1 gpu worker, 3 cpu workers" in stack.run("up").stderr
    stack.run("watch", job)
    assert stack.json("status", job)["attempts"] == []
    stack.run("up", "--cpu-workers", "1")
    assert pids(stack) == {name: pid for name, pid in before.items() if name != "cpu-2"}
    assert not {more["cpu-2"], more["cpu-3"]} & {process.pid for process in processes_of(stack)}
    stack.run("down")
    assert processes_of(stack) == []


def test_a_server_that_was_left_without_its_socket_is_replaced_and_its_jobs_are_kept(
    stack: Stack, tmp_path: Path
) -> None:
    stack.run("up", "--gpu-workers", "0")
    before = pids(stack)
    job = submitted(stack, tmp_path, "table", ["a text", "another"])
    kill_supervisor(stack)
    Path((stack.home / "run" / "socket").read_text()).unlink()
    assert "took over cpu-1, cpu-2 from" in stack.run("up", "--gpu-workers", "0").stderr
    assert pids(stack)["redis"] != before["redis"]
    assert stack.json("status", job)["state"] in ("queued", "running")


def test_a_stale_socket_and_state_file_do_not_stop_the_next_up(stack: Stack) -> None:
    stack.run("up", "--cpu-workers", "0")
    socket = Path((stack.home / "run" / "socket").read_text())
    state = (stack.home / "run" / "stack.json").read_bytes()
    stack.run("down")
    socket.touch()
    (stack.home / "run" / "stack.json").write_bytes(state)
    stack.run("up", "--cpu-workers", "0")
    assert len(stack.json("workers")) == 1


def test_down_stops_what_an_interrupted_up_has_begun(stack: Stack) -> None:
    begun = subprocess.Popen([JDQ, "up"], env=stack.environment, stderr=subprocess.DEVNULL)
    until((stack.home / "run" / "stack.json").exists)
    begun.kill()
    begun.wait()
    stack.run("down")
    assert processes_of(stack) == []


def test_a_worker_that_cannot_start_says_why(stack: Stack) -> None:
    broken = Stack(stack.home, {**stack.settings, "JDQ_HEARTBEAT_S": "soon"})
    assert "JDQ_HEARTBEAT_S is 'soon'" in broken.run("up", code=2).stderr
    store = stack.home / "store"
    store.mkdir(parents=True)
    (store / "holiday.jpg").touch()
    error = stack.run("up", code=3).stderr
    assert "did not start" in error
    assert "is not a store" in error
    assert processes_of(stack) == []


def test_a_worker_that_dies_is_started_again(stack: Stack) -> None:
    stack.run("up", "--cpu-workers", "0")
    [worker] = stack.json("workers")
    os.kill(worker["pid"], signal.SIGKILL)
    until(lambda: [w["pid"] for w in stack.json("workers")] != [worker["pid"]], why="another worker has started")


def test_a_broker_of_ones_own_is_not_started_by_up(stack: Stack) -> None:
    foreign = Stack(stack.home, {**stack.settings, "JDQ_BROKER_URL": "redis://:secret@127.0.0.1:1/0"})
    assert "JDQ_BROKER_URL is set" in foreign.run("up", code=3).stderr
    error = foreign.run("jobs", code=3).stderr
    assert "redis://:***@127.0.0.1:1/0" in error
    assert "secret" not in error


def test_of_several_ups_at_the_same_time_one_starts_and_the_others_say_so(stack: Stack) -> None:
    command = [JDQ, "up", "--cpu-workers", "0"]
    begun = [subprocess.Popen(command, env=stack.environment, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate(timeout=120)[1] for process in begun]
    assert [process.returncode for process in begun] == [0] * 4, said
    assert sorted(text.split(":")[0] for text in said) == ["already running"] * 3 + ["up"]
    assert sum("jdq.cli.stack.supervisor" in p.cmdline() for p in processes_of(stack)) == 1


@pytest.fixture
def small_home(stack: Stack) -> Iterator[Stack]:
    """The stack with its home on a disk of 4 MB."""
    stack.home.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(stack.home)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no tmpfs may be mounted here: {mounted.stderr.strip()}")
    yield stack
    stack.run("down")
    subprocess.run(["umount", "-l", str(stack.home)], check=True)


def test_a_full_disk_does_not_end_the_stack_which_recovers_when_there_is_room(small_home: Stack) -> None:
    small_home.run("up", "--cpu-workers", "0")
    supervisor = next(p for p in processes_of(small_home) if "jdq.cli.stack.supervisor" in p.cmdline())
    [worker] = small_home.json("workers")
    filler = small_home.home / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"0" * 65536)
    psutil.Process(worker["pid"]).kill()
    time.sleep(4)  # two attempts to start the worker, which leave no trace on a full disk
    assert supervisor.is_running()
    filler.unlink()

    def recovered() -> bool:
        return [w["state"] for w in small_home.json("workers") if w["pid"] != worker["pid"]] == ["idle"]

    until(recovered)
    state = small_home.home / "run" / "stack.json"

    def recorded() -> bool:
        child = json.loads(state.read_text())["children"].get("gpu-1", {})
        return [w["pid"] for w in small_home.json("workers") if w["state"] == "idle"] == [child.get("pid")]

    until(recorded)


def test_the_supervisor_runs_by_itself_as_under_systemd(stack: Stack) -> None:
    command = [sys.executable, "-m", "jdq.cli.stack.supervisor", "--gpu-workers", "0", "--cpu-workers", "1"]
    with subprocess.Popen(command, env=stack.environment) as supervisor:
        until(lambda: (stack.home / "run" / "stack.json").exists() and b'"ready"' in state_of(stack))
        assert [w["state"] for w in stack.json("workers")] == ["idle"]
        assert "already running" in stack.run("up").stderr
        supervisor.terminate()
        assert supervisor.wait(30) == 0
    assert processes_of(stack) == []


def state_of(stack: Stack) -> bytes:
    return (stack.home / "run" / "stack.json").read_bytes()


def test_what_the_stack_writes_is_private(shared_stack: Stack) -> None:
    home = shared_stack.home
    folders = [home, *(folder for folder in home.iterdir() if folder.name != "store")]
    assert {oct(folder.stat().st_mode & 0o777) for folder in folders} == {"0o700"}
    files = [file for folder in folders[1:] for file in folder.rglob("*.*") if file.is_file()]
    assert {file.suffix for file in files} >= {".log", ".aof", ".lock"}
    assert {oct(file.stat().st_mode & 0o777) for file in files if file.suffix != ".json"} == {"0o600"}


def test_a_worker_that_has_to_be_killed_when_the_supervisor_is_dead_loses_no_attempt(
    stack: Stack, tmp_path: Path
) -> None:
    stack = Stack(stack.home, stack.settings | {"JDQ_LEASE_S": "60"})  # it does not expire in the meantime
    stack.run("up")
    [worker] = [worker for worker in stack.json("workers") if worker["queue"] == "gpu"]
    job = slow(stack, tmp_path)
    os.kill(json.loads(state_of(stack))["supervisor"]["pid"], signal.SIGKILL)
    main = psutil.Process(worker["pid"])
    for process in (main, *computing(main)):
        process.suspend()  # it does not react to SIGTERM
    stack.run("down")
    assert processes_of(stack) == []
    stack.run("up")
    until(lambda: stack.json("status", job)["state"] == "succeeded")
    assert {attempt["what"] for attempt in stack.json("status", job)["attempts"]} == {"drain"}
