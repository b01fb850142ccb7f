"""The configuration: the environment and config.toml, read once when a process starts."""

import difflib
import getpass
import hashlib
import os
import re
import socket
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec

from jdq.store.location import jdq_home, store_root
from jdq.worker import setting_kinds as kinds
from jdq.worker.encoder.options import AUTO, Precision

DEFAULT_ENCODER = "facebook/bart-base"


class ConfigError(Exception):
    """An invalid setting; the message names the setting and where it came from."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What every process of jdq needs to know.

    A setting is the variable JDQ_<NAME> in the environment, or <name> in config.toml; `home` is only a variable.
    """

    home: Path
    store: Path
    broker_url: kinds.Url
    embedded: bool  # not set: the broker is the private server that `jdq up` starts
    host: kinds.Text
    # The owner of the jobs that are submitted from here.
    user: kinds.User
    encoder: kinds.Text = DEFAULT_ENCODER
    precision: Precision = AUTO
    device: kinds.Device = "auto"
    # The GPUs that workers of this host may lease; CUDA_VISIBLE_DEVICES hides some of them.
    gpus: kinds.Gpus = "all"
    # A GPU on which others leave less memory is left to them; 0: not checked.
    gpu_min_free_gib: kinds.Gibibytes = 0.0
    # How long a worker may be silent before its chunk goes to another one.
    lease_s: kinds.Seconds = 60.0
    heartbeat_s: kinds.Seconds = 2.0
    reclaim_s: kinds.Seconds = 5.0
    # How long one ticket keeps a worker on one job while other jobs wait.
    time_slice_s: kinds.Seconds = 30.0
    # How owners share device time; 1 for everybody who is not named.
    shares: kinds.Shares = "*=1"
    # The most workers of a queue that an owner uses at the same time, and the most of these for fine-tunes.
    max_devices: kinds.Quotas = ""
    max_fine_tunes: kinds.Quotas = ""
    # Who may submit with --priority high, comma separated; * is everybody.
    high_priority: kinds.Names = "*"
    # How long work on a chunk may report nothing before it counts as hung.
    stall_s: kinds.Seconds = 1800.0
    # How often a worker compares its features of the canary texts with those of others.
    self_test_s: kinds.Seconds = 600.0
    log_format: Literal["text", "json"] = "text"
    # Tokens per chunk; 0 lets the plan choose by the workers' devices.
    chunk_tokens: kinds.Tokens = 0
    # How long ended jobs stay in Redis; after that they are only in the store.
    keep_jobs_days: kinds.Days = 30.0
    # Folders of this machine that the workers see, as HERE or HERE=THERE, separated by commas; by default all.
    worker_folders: kinds.Folders = ""
    # Where apprise sends a notice when a job of this user ends, unless the job names URLs; separated by spaces.
    notify: kinds.Urls = ""
    # What an hour of one device costs, in any currency; 0 if it is not known.
    device_hour_price: kinds.Price = 0.0
    # Dotted names of scikit-learn classifiers that a job may ask workers to import, comma separated.
    classifiers: kinds.Names = ""
    # Who may log in to the pages of `jdq web`.
    web_tokens: kinds.WebTokens = ""

    @property
    def allowed_classifiers(self) -> tuple[str, ...]:
        """The names in `classifiers`."""
        return tuple(name.strip() for name in self.classifiers.split(",") if name.strip())

    @property
    def owner_of_token(self) -> dict[str, str]:
        """The owners in `web_tokens`, by the digest of their token."""
        return {digest: owner for owner, digest in _by_owner(self.web_tokens)}

    @property
    def share_of(self) -> dict[str, float]:
        """Each owner's share in device time; "*" is that of all others."""
        return {owner: float(share) for owner, share in _by_owner(self.shares)}

    @property
    def may_be_urgent(self) -> bool:
        """Whether this user may submit with --priority high."""
        return not {"*", self.user}.isdisjoint(name.strip() for name in self.high_priority.split(","))

    @property
    def most_devices(self) -> dict[str, int]:
        """The numbers in `max_devices`."""
        return {owner: int(most) for owner, most in _by_owner(self.max_devices)}

    @property
    def most_fine_tunes(self) -> dict[str, int]:
        """The numbers in `max_fine_tunes`."""
        return {owner: int(most) for owner, most in _by_owner(self.max_fine_tunes)}

    @property
    def logs(self) -> Path:
        """The folder of the local stack's log files."""
        return self.home / "logs"

    @property
    def run_folder(self) -> Path:
        """The folder of the local stack's state."""
        return self.home / "run"


def _by_owner(setting: str) -> Iterator[tuple[str, str]]:
    """The owners of a setting such as alice=2,*=1, and what each has."""
    for each in filter(None, setting.split(",")):
        owner, _, value = each.partition("=")
        yield owner, value


class Setting(NamedTuple):
    """A setting's value and where it comes from: a variable of the environment, config.toml, or `default`."""

    name: str
    value: Any
    source: str


DEFAULT = "default"
# Setting -> its earlier name, which is still read.
_OLD_NAMES = {"heartbeat_s": "beat_s", "reclaim_s": "reap_s", "time_slice_s": "turn_s"}
# Variables that are not settings of Config: those of compose.yaml and docker/, of the workers themselves, of the tests.
_OTHER_VARIABLES = """
    JDQ_BUILD_NETWORK JDQ_CPU_WORKERS JDQ_DATA JDQ_FLOWER_PASSWORD JDQ_FLOWER_PORT JDQ_FLOWER_USER JDQ_GID
    JDQ_GPU_WORKERS JDQ_HUB_CACHE JDQ_IMAGE JDQ_METRICS_PORT JDQ_MODELS JDQ_MONITORING_BIND
    JDQ_GRAFANA_PORT JDQ_PROMETHEUS_PORT JDQ_PROMETHEUS_RETENTION
    JDQ_REDIS_ADDRESS JDQ_REDIS_BIND JDQ_REDIS_MAXMEMORY
    JDQ_REDIS_MEMORY JDQ_REDIS_OPTIONS JDQ_REDIS_PASSWORD JDQ_REDIS_PORT JDQ_REDIS_SCHEME JDQ_REDIS_TLS_PORT
    JDQ_TASK_EVENTS JDQ_TLS JDQ_UID JDQ_VERSION JDQ_WORKER_MEMORY JDQ_WORKER_TMP
    JDQ_LEASED_GPU JDQ_WORKER_NAME JDQ_WEB_BIND JDQ_WEB_PORT
    JDQ_BENCHMARK_ROWS JDQ_CONTAINER_ENGINE JDQ_FAULT_ROUNDS JDQ_MUTANT_FILE JDQ_MUTATED_FILE JDQ_POWER_CUTS JDQ_TABLES
    JDQ_RACE_SECONDS JDQ_TEST_DATA
""".split()  # noqa: SIM905 - a literal list would take a line per name


def read_config(environment: Mapping[str, str] | None = None) -> Config:
    """The configuration of this process: environment first, then ``$JDQ_HOME/config.toml``, then the defaults.

    Raises ConfigError for an invalid value, StoreError for a `store` that is not a path.
    """
    env = os.environ if environment is None else environment
    home = jdq_home(env)
    settings = {name: value for name, _, value in _settings(env, home / "config.toml")}
    embedded = "broker_url" not in settings
    defaults = {"broker_url": f"redis+socket://{socket_path(home)}", "host": socket.gethostname(), "user": login_name()}
    config = Config(home=home, store=store_root(environment=env), embedded=embedded, **defaults | settings)
    if config.heartbeat_s * 3 > config.lease_s:
        raise ConfigError(
            f"JDQ_LEASE_S={config.lease_s:g} is less than three times JDQ_HEARTBEAT_S={config.heartbeat_s:g}: "
            "a lease would expire between two heartbeats"
        )
    return config


def settings(environment: Mapping[str, str] | None = None) -> list[Setting]:
    """Every setting as `read_config` has it; raises the same errors."""
    env = os.environ if environment is None else environment
    config = read_config(env)
    file = config.home / "config.toml"
    sources = {name: source for name, source, _ in _settings(env, file)}
    sources |= {"store": f"{file}: store"} if "store" in _read_file(file) else {}
    sources |= {name: _variable(name) for name in ("home", "store") if env.get(_variable(name))}
    names = [name for name in Config.__struct_fields__ if name != "embedded"]
    return [
        Setting(name, msgspec.to_builtins(getattr(config, name), enc_hook=str), sources.get(name, DEFAULT))
        for name in names
    ]


def unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """A warning for each JDQ_ variable that nothing reads."""
    known = {_variable(name) for name in ("home", "store", *_types(), *_OLD_NAMES.values())} | {*_OTHER_VARIABLES}
    for name in sorted(set(environment) - known):
        if name.startswith("JDQ_"):
            yield f"{name} is not a setting of jdq{_suggestion(name, known)}"


def socket_path(home: Path) -> Path:
    """The embedded server's unix socket: the running stack's own, else where the next one will put it.

    A socket's path holds at most 107 bytes, so it is in the runtime folder, named by the home folder's digest. The
    stack records the path, because a cron job and a login shell may have different runtime folders.
    """
    try:
        return Path((home / "run" / "socket").read_text(encoding="utf-8").strip())
    except OSError:
        name = hashlib.blake2b(str(home).encode(), digest_size=6).hexdigest()
        return runtime_folder() / f"jdq-{name}.sock"


def login_name() -> str:
    """This user's login name, or number if there is none, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid-{os.getuid()}"


def runtime_folder() -> Path:
    """A folder for sockets that only this user can read: ``$XDG_RUNTIME_DIR``, or one under the temporary folder."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and Path(given).is_dir():
        return Path(given)
    return Path(tempfile.gettempdir()) / f"jdq-{os.getuid()}"


def _types() -> dict[str, Any]:
    """The settings that both the environment and config.toml may give, except `store`, with their types."""
    fields = {field.name: field.type for field in msgspec.structs.fields(Config)}
    return {name: kind for name, kind in fields.items() if name not in ("home", "store", "embedded")}


def _settings(env: Mapping[str, str], path: Path) -> Iterator[tuple[str, str, Any]]:
    """Each given setting, where it comes from, and its converted value."""
    file = _read_file(path)
    for name, kind in _types().items():
        names = [name, *([_OLD_NAMES[name]] if name in _OLD_NAMES else [])]
        given = [(_variable(each), env[_variable(each)]) for each in names if env.get(_variable(each))]
        given += [(f"{path}: {each}", file[each]) for each in names if each in file]
        if given:
            yield name, given[0][0], _converted(*given[0], kind)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        file = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    known = {"store", *_types(), *_OLD_NAMES.values()}
    if unknown := sorted(set(file) - known):
        raise ConfigError(f"{path} has an unknown setting {unknown[0]}{_suggestion(unknown[0], known)}")
    return file


def _converted(source: str, value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        shown = re.sub(".*@", "***@", value) if isinstance(value, str) else value  # a URL's password
        shown = "***" if kind is kinds.Urls else shown
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        wanted = f"one of {', '.join(choices)}" if choices else kind.__metadata__[0].description
        raise ConfigError(f"{source} is {shown!r}; it must be {wanted}") from None


def _variable(setting: str) -> str:
    return f"JDQ_{setting.upper()}"


def _suggestion(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""
