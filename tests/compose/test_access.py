"""What containers may do, and who reaches what."""

import json
import os
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from tests.compose.conftest import PASSWORD, VERSION
from tests.compose.stack import Stack, docker
from tests.waiting import until

pytestmark = [pytest.mark.compose, pytest.mark.slow]
IMAGES = ("redis", "client", "monitoring", "worker-cpu")
SERVICES = ("redis", "gpu-worker", "cpu-worker", "metrics", "flower")


def redis_cli(stack: Stack, *arguments: str) -> str:
    """What Redis answers to the user jdq, in its own container."""
    ask = ("env", f"REDISCLI_AUTH={PASSWORD}", "redis-cli", "--user", "jdq", "--no-auth-warning", *arguments)
    return docker("exec", stack.container("redis"), *ask, check=False)


def get(url: str, *, password: str | None = None) -> tuple[int, str]:
    """Status and body."""
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if password:
        passwords.add_password(None, url, "jdq", password)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
    try:
        with opener.open(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError:
        return 0, ""


def address(stack: Stack, service: str, port: int) -> str:
    """Where a published port is on this machine."""
    return "http://" + stack.compose("port", service, str(port)).stdout.strip()


def test_every_service_becomes_healthy(stack: Stack) -> None:
    def health(service: str) -> bool:
        return bool(stack.inspect(service)["State"]["Health"]["Status"] == "healthy")

    for service in SERVICES:
        until(partial(health, service), within_s=120, why=f"{service} is healthy")


def test_containers_run_without_root_rights_or_a_writable_root(stack: Stack) -> None:
    for service in SERVICES:
        host = stack.inspect(service)["HostConfig"]
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert host["RestartPolicy"]["Name"] == "unless-stopped", service
        assert docker("exec", stack.container(service), "id", "-u").strip() in ("10001", "10002"), service


def test_redis_is_on_an_internal_network_with_a_memory_limit_and_no_port(stack: Stack) -> None:
    redis = stack.inspect("redis")
    assert list(redis["NetworkSettings"]["Networks"]) == [f"{stack.name}_queue"]
    assert json.loads(docker("network", "inspect", f"{stack.name}_queue"))[0]["Internal"]
    assert not redis["HostConfig"]["PortBindings"]
    assert redis["HostConfig"]["Memory"] == 2 << 30
    from_outside = ("run", "--rm", "--network", f"{stack.name}_outside", "--entrypoint", "redis-cli")
    ip = redis["NetworkSettings"]["Networks"][f"{stack.name}_queue"]["IPAddress"]
    assert "PONG" not in docker(*from_outside, f"jdq-redis:{VERSION}", "-t", "3", "-h", ip, "ping", check=False)


def test_redis_lets_only_jdq_in_and_only_to_its_own_keys(stack: Stack) -> None:
    assert redis_cli(stack, "ping").strip() == "PONG"
    assert "NOAUTH" in docker("exec", stack.container("redis"), "redis-cli", "ping", check=False)
    for command in ("flushall", "config get *", "keys *", "acl list", "shutdown", "set foo 1"):
        assert "NOPERM" in redis_cli(stack, *command.split()), command
    memory = redis_cli(stack, "info", "memory")
    assert "maxmemory_policy:noeviction" in memory
    assert "aof_enabled:1" in redis_cli(stack, "info", "persistence")


def test_images_hold_no_secret_no_compiler_and_the_client_no_torch(images: None) -> None:
    for name in IMAGES:
        image = f"jdq-{name}:{VERSION}"
        facts = json.loads(docker("image", "inspect", image))[0]["Config"]
        assert facts["User"] not in ("", "0", "root")
        assert facts["Labels"]["org.opencontainers.image.title"].startswith("jdq")
        assert PASSWORD not in docker("history", "--no-trunc", image) + json.dumps(facts)
        assert not docker(
            "run", "--rm", "--entrypoint", "sh", image, "-c", "command -v gcc cc; ls /wheels", check=False
        )
    python = ("run", "--rm", "--entrypoint", "python", f"jdq-client:{VERSION}", "-c")
    assert docker(*python, "import importlib.util as u; print(u.find_spec('torch'))").strip() == "None"


def test_compose_refuses_to_start_without_a_password(folder: Path) -> None:
    refused = Stack("jdq-test-refused", folder, {"JDQ_REDIS_PASSWORD": ""}).compose("config", check=False)
    assert refused.returncode != 0
    assert "JDQ_REDIS_PASSWORD" in refused.stdout + refused.stderr
    image = ("run", "--rm", "-e", "JDQ_REDIS_PASSWORD=", f"jdq-redis:{VERSION}")
    assert "JDQ_REDIS_PASSWORD is empty" in docker_error(*image)


def docker_error(*arguments: str) -> str:
    """What a docker command that fails says."""
    with pytest.raises(AssertionError) as refused:
        docker(*arguments)
    return str(refused.value)


@pytest.mark.skipif(os.getuid() != 0, reason="makes a folder of another owner, which takes root")
@pytest.mark.parametrize("target", ["client", "worker-cpu"])
def test_a_store_of_another_owner_is_said_with_what_to_do(images: None, tmp_path: Path, target: str) -> None:
    tmp_path.chmod(0o755)
    said = docker_error("run", "--rm", "--volume", f"{tmp_path}:/store", f"jdq-{target}:{VERSION}", "cpu")
    assert "belongs to user 0, group 0" in said
    assert "chown -R 10001:10001" in said


def test_metrics_and_flower_answer_and_flower_asks_for_a_password(stack: Stack) -> None:
    status, metrics = get(address(stack, "metrics", 9108) + "/metrics")
    assert status == 200
    assert 'jdq_workers{queue="cpu",state="idle"} 2.0' in metrics
    flower = address(stack, "flower", 5555)
    until(lambda: get(f"{flower}/healthcheck")[0] == 200, within_s=60, why="Flower answers")
    assert get(f"{flower}/workers")[0] == 401
    workers = get(f"{flower}/workers?json=1&refresh=1", password=PASSWORD)
    assert workers[0] == 200
    assert "cpu-worker-" in workers[1]


def test_a_workers_log_lines_are_json(stack: Stack) -> None:
    lines = [line for line in stack.logs("cpu-worker") if line.startswith("{")]
    assert lines
    assert all({"time", "level", "worker", "job", "chunk", "message"} <= json.loads(line).keys() for line in lines)
