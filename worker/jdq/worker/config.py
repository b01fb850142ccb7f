"""The configuration: the environment and config.toml, read once at a process's entry."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jdq.worker.precision import AUTO, PRECISIONS

DEFAULT_ENCODER = "facebook/bart-base"
CHOICES = {"precision": (AUTO, *PRECISIONS), "log_format": ("text", "json")}


class ConfigError(Exception):
    """A setting that cannot be used; the message names the setting and where it came from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What every process of jdq needs to know. Times are in seconds."""

    home: Path
    store: Path
    broker_url: str
    embedded: bool  # the broker is the private server that `jdq up` starts
    host: str
    encoder: str = DEFAULT_ENCODER
    precision: str = AUTO
    device: str = "auto"
    # How long a worker may be silent before its chunk goes to another one.
    lease_s: float = 60.0
    heartbeat_s: float = 2.0
    reclaim_s: float = 5.0
    # How long one ticket lets a worker stay on one job before others get their turn.
    time_slice_s: float = 30.0
    log_format: str = "text"
    # Tokens a chunk may hold; 0 lets the plan choose by the workers' devices.
    chunk_tokens: int = 0

    # Dotted names of scikit-learn classifiers that a job may ask workers to import, comma separated.
    classifiers: str = ""

    @property
    def allowed_classifiers(self) -> tuple[str, ...]:
        """The names in `classifiers`."""
        return tuple(name.strip() for name in self.classifiers.split(",") if name.strip())

    @property
    def logs(self) -> Path:
        """The folder of the local stack's log files."""
        return self.home / "logs"

    @property
    def run_folder(self) -> Path:
        """Where the local stack says what runs."""
        return self.home / "run"


# Field of Config, environment variable, type. The same names without JDQ_, in lower case, are config.toml's keys.
_SETTINGS: dict[str, tuple[str, type]] = {
    "encoder": ("JDQ_ENCODER", str),
    "precision": ("JDQ_PRECISION", str),
    "device": ("JDQ_DEVICE", str),
    "lease_s": ("JDQ_LEASE_S", float),
    "heartbeat_s": ("JDQ_HEARTBEAT_S", float),
    "reclaim_s": ("JDQ_RECLAIM_S", float),
    "time_slice_s": ("JDQ_TIME_SLICE_S", float),
    "log_format": ("JDQ_LOG_FORMAT", str),
    "chunk_tokens": ("JDQ_CHUNK_TOKENS", int),
    "classifiers": ("JDQ_CLASSIFIERS", str),
}


def read_config(environment: Mapping[str, str] | None = None) -> Config:
    """The configuration of this process: environment first, then ``$JDQ_HOME/config.toml``, then the defaults.

    Raises ConfigError for a value that cannot be read.
    """
    env = os.environ if environment is None else environment
    home = Path(env.get("JDQ_HOME") or Path.home() / ".jdq").expanduser().absolute()
    file = _read_file(home / "config.toml")
    settings = {
        field: _converted(value, kind, name)
        for field, (name, kind) in _SETTINGS.items()
        if (value := env.get(name) or file.get(field)) is not None
    }
    for field, choices in CHOICES.items():
        if field in settings and settings[field] not in choices:
            raise ConfigError(f"{field} is {settings[field]!r}; it must be one of {', '.join(choices)}")
    url = env.get("JDQ_BROKER_URL") or file.get("broker_url")
    config = Config(
        home=home,
        store=Path(env.get("JDQ_STORE") or str(file.get("store") or home / "store")).expanduser().absolute(),
        broker_url=str(url) if url else f"redis+socket://{socket_path(home)}",
        embedded=not url,
        host=env.get("JDQ_HOST") or socket.gethostname(),
        **settings,  # type: ignore[arg-type]
    )
    if config.heartbeat_s * 3 > config.lease_s:
        raise ConfigError(
            f"JDQ_LEASE_S={config.lease_s:g} is less than three times JDQ_HEARTBEAT_S={config.heartbeat_s:g}: "
            "a lease would end between two beats"
        )
    return config


def socket_path(home: Path) -> Path:
    """The embedded server's unix socket: the running stack's own, else where the next one will put it.

    A socket's path holds at most 107 bytes, so it lies in the runtime folder, named by the home folder's digest. The
    stack writes it down, because a cron job and a login shell may have different runtime folders.
    """
    try:
        return Path((home / "run" / "socket").read_text(encoding="utf-8").strip())
    except OSError:
        name = hashlib.blake2b(str(home).encode(), digest_size=6).hexdigest()
        return runtime_folder() / f"jdq-{name}.sock"


def runtime_folder() -> Path:
    """A folder of this user alone for sockets: ``$XDG_RUNTIME_DIR``, or one under the temporary folder."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and Path(given).is_dir():
        return Path(given)
    return Path(tempfile.gettempdir()) / f"jdq-{os.getuid()}"


def _read_file(path: Path) -> dict[str, object]:
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if unknown := set(settings) - set(_SETTINGS) - {"store", "broker_url"}:
        raise ConfigError(f"{path} has unknown settings: {', '.join(sorted(unknown))}")
    return settings


def _converted(value: object, kind: type, name: str) -> object:
    try:
        return kind(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} is {value!r}; it must be a {kind.__name__}") from error
