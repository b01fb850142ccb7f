"""Settings: where they come from, which values they take, and what is said about wrong ones."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jdq.cli.main import cli
from jdq.worker.config import Config, ConfigError, read_config, unknown_variables
from tests.cli.conftest import CommandLine
from tests.conftest import PROJECT


def config_in(home: Path, file: str = "", **environment: str) -> Config:
    """The configuration with this config.toml and these variables."""
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(file, encoding="utf-8")
    return read_config({"JDQ_HOME": str(home), **environment})


def test_the_environment_comes_before_config_toml_and_that_before_the_defaults(tmp_path: Path) -> None:
    file = 'encoder = "from-file"\nlease_s = 30\nchunk_tokens = 0\nhost = "gpu-server-1"'
    config = config_in(tmp_path, file, JDQ_ENCODER="from-environment", JDQ_HEARTBEAT_S="1.5", JDQ_DEVICE="")
    assert (config.encoder, config.lease_s, config.heartbeat_s) == ("from-environment", 30.0, 1.5)
    assert (config.host, config.reclaim_s, config.device) == ("gpu-server-1", 5.0, "auto")


def test_shares_are_numbers_by_owner(tmp_path: Path) -> None:
    assert config_in(tmp_path).share_of == {"*": 1}
    assert config_in(tmp_path, 'shares = "a.b=2,bob=0.5,*=10"').share_of == {"a.b": 2, "bob": 0.5, "*": 10}


def test_quotas_are_whole_numbers_by_owner_and_by_default_there_are_none(tmp_path: Path) -> None:
    assert (config_in(tmp_path).most_devices, config_in(tmp_path).most_fine_tunes) == ({}, {})
    config = config_in(tmp_path, 'max_fine_tunes = "*=1"', JDQ_MAX_DEVICES="alice=4,*=2")
    assert (config.most_devices, config.most_fine_tunes) == ({"alice": 4, "*": 2}, {"*": 1})


def test_the_broker_is_the_embedded_server_unless_a_url_is_given(tmp_path: Path) -> None:
    assert config_in(tmp_path).embedded
    for given in (config_in(tmp_path, 'broker_url = "redis://h/0"'), config_in(tmp_path, JDQ_BROKER_URL="redis://h/0")):
        assert (given.broker_url, given.embedded) == ("redis://h/0", False)


def test_old_names_are_read_where_the_new_ones_are_not_given(tmp_path: Path) -> None:
    config = config_in(tmp_path, "reap_s = 7", JDQ_BEAT_S="3", JDQ_TURN_S="4", JDQ_TIME_SLICE_S="8")
    assert (config.heartbeat_s, config.reclaim_s, config.time_slice_s) == (3.0, 7.0, 8.0)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("lease_s", "soon", "a number of seconds above 0"),
        ("lease_s", "-1", "a number of seconds above 0"),
        ("reclaim_s", "inf", "at most 86400"),
        ("chunk_tokens", "1.5", "a whole number of tokens"),
        ("precision", "int4", "one of auto, fast, float32, bfloat16, float8, int8"),
        ("user", "no spaces", "letters, digits and"),
        ("shares", "alice=0", "owners and numbers above 0"),
        ("shares", "alice=1,bob", "owners and numbers above 0"),
        ("max_devices", "alice=0", "owners and whole numbers above 0"),
        ("max_fine_tunes", "alice=1.5", "owners and whole numbers above 0"),
        ("log_format", "xml", "one of text, json"),
        ("device", "gpu", "auto, cpu, cuda, or cuda:N"),
        ("broker_url", "localhost:6379", "a redis://, rediss:// or redis+socket:// URL"),
    ],
)
def test_a_bad_value_is_reported_with_its_setting_and_source(
    tmp_path: Path, name: str, value: str, wanted: str
) -> None:
    with pytest.raises(ConfigError, match=f"^JDQ_{name.upper()} is '{value}'; it must be .*{re.escape(wanted)}"):
        config_in(tmp_path, **{f"JDQ_{name.upper()}": value})
    with pytest.raises(ConfigError, match=f"config.toml: {name} is '{value}'; it must be .*{re.escape(wanted)}"):
        config_in(tmp_path, f'{name} = "{value}"')


def test_a_broker_url_is_reported_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"JDQ_BROKER_URL is '\*\*\*@host'") as raised:
        config_in(tmp_path, JDQ_BROKER_URL="http://jdq:secret@host")
    assert "secret" not in str(raised.value)


def test_a_lease_outlasts_three_heartbeats(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="JDQ_LEASE_S=5 is less than three times JDQ_HEARTBEAT_S=2"):
        config_in(tmp_path, JDQ_LEASE_S="5")


def test_an_unknown_setting_in_config_toml_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.toml has an unknown setting encoders; did you mean encoder"):
        config_in(tmp_path, 'encoders = "x"')


def test_a_command_warns_once_of_an_unknown_variable_and_keeps_json_clean(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    environment = {"JDQ_HOME": str(tmp_path), "JDQ_ENCODR": "x", "JDQ_UID": "5", "JDQ_BEAT_S": "1"}
    ran = CliRunner(env=environment).invoke(cli, ["heads", "ls", "--json"])
    assert (ran.exit_code, ran.stdout) == (0, "[]\n")
    assert ran.stderr == "warning: JDQ_ENCODR is not a setting of jdq; did you mean JDQ_ENCODER?\n"


def test_every_variable_of_the_project_is_known() -> None:
    places = [".env.example", ".ci", "Makefile", "compose.yaml", "docker", "demo", "worker", "tests", "benchmarks"]
    files = [file for place in places for file in (PROJECT / place, *(PROJECT / place).rglob("*")) if file.is_file()]
    here = Path(__file__).resolve()
    texts = [file.read_text(encoding="utf-8", errors="ignore") for file in files if file.resolve() != here]
    names = {name: "" for text in texts for name in re.findall(r"JDQ_[A-Z_]*[A-Z]\b", text)}
    assert {"JDQ_REDIS_PASSWORD", "JDQ_TEST_DATA", "JDQ_LEASED_GPU"} <= set(names)
    assert list(unknown_variables(names)) == []


def test_compose_passes_every_setting_that_is_not_fixed_in_the_images() -> None:
    passed = set(re.findall(r"^ +(JDQ_\w+):", (PROJECT / "compose.yaml").read_text(encoding="utf-8"), re.MULTILINE))
    settings = {f"JDQ_{name.upper()}" for name in Config.__struct_fields__} - {"JDQ_HOME", "JDQ_STORE", "JDQ_EMBEDDED"}
    assert settings <= passed


def shown(home: Path, **environment: str) -> dict[str, tuple[Any, str]]:
    """What `jdq config show --json` says: setting -> value, source."""
    ran = CliRunner(env={"JDQ_HOME": str(home), **environment}).invoke(cli, ["config", "show", "--json"])
    assert ran.exit_code == 0, ran.output
    return {each["name"]: (each["value"], each["source"]) for each in json.loads(ran.stdout)["settings"]}


def test_config_show_names_the_source_of_each_value(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('encoder = "hash:8"\nreap_s = 7\nlease_s = 90\nstore = "/tmp/a"', encoding="utf-8")
    found = shown(tmp_path, JDQ_LEASE_S="30")
    assert set(found) == set(Config.__struct_fields__) - {"embedded"}
    assert found["lease_s"] == (30.0, "JDQ_LEASE_S")
    assert found["encoder"] == ("hash:8", f"{file}: encoder")
    assert found["reclaim_s"] == (7.0, f"{file}: reap_s")
    assert found["device"] == ("auto", "default")
    assert found["home"] == (str(tmp_path), "JDQ_HOME")
    assert found["store"] == ("/tmp/a", f"{file}: store")
    assert shown(tmp_path, JDQ_STORE="/tmp/b")["store"] == ("/tmp/b", "JDQ_STORE")
    file.unlink()
    assert shown(tmp_path)["store"] == (str(tmp_path / "store"), "default")


def test_config_show_masks_passwords_and_needs_no_redis(tmp_path: Path) -> None:
    url = "redis://jdq:secret@127.0.0.1:1/0?password=secret"
    ran = CliRunner(env={"JDQ_HOME": str(tmp_path), "JDQ_BROKER_URL": url}).invoke(cli, ["config", "show"])
    assert (ran.exit_code, "secret" in ran.output) == (0, False)
    [row] = [line.split() for line in ran.stdout.splitlines() if line.startswith("broker_url")]
    assert row == ["broker_url", "redis://jdq:***@127.0.0.1:1/0?password=***", "JDQ_BROKER_URL"]
    assert "precision auto:" not in ran.stdout
    assert re.search(r"^lease_s +60 +default$", ran.stdout, re.MULTILINE)


def test_config_show_says_what_precision_auto_means(jdq: CommandLine) -> None:
    jdq.workplace.jobbook.settle_precision("bfloat16")
    assert "precision auto: bfloat16\n" in jdq.run("config", "show").stdout
    assert jdq.json("config", "show")["automatic_precision"] == "bfloat16"
