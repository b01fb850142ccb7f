"""What the client can check before a job exists; workers would notice it only minutes later."""

import re
from collections.abc import Iterable
from pathlib import Path

from jdq.cli.client import BadRequest, Client
from jdq.cli.paths import seen_by_workers
from jdq.worker.config import Config

HASH = re.compile(r"hash:[1-9]\d*")
HUB_NAME = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")


def checked_encoder(client: Client, encoder: str) -> str:
    """The encoder as the workers take it: a folder under the path that they see. Raises BadRequest, UnknownTrained.

    A folder that does not exist here is accepted if the workers may run on other machines.
    """
    name, path = encoder, Path(encoder).expanduser()
    if path.is_dir():
        path = path.resolve()
        if not (path / "config.json").is_file():
            raise BadRequest(f"{path} has no config.json, so it is not an encoder's folder")
        if not any(file.suffix in (".safetensors", ".bin") for file in path.iterdir()):
            raise BadRequest(f"{path} has no weights: neither model.safetensors nor parts of it")
        return seen_by_workers(path, client.config.worker_folders)
    if path.is_file():
        raise BadRequest(f"{name} is a file; an encoder is a folder with config.json and model.safetensors")
    if name.startswith("fine-tune-"):
        _check_fine_tune(client, name)
    elif path.is_absolute():
        if client.config.embedded:
            raise BadRequest(f"no folder {name}\n  try: jdq model tiny DIR, for a tiny random encoder")
    elif name.startswith("hash:"):
        if not HASH.fullmatch(name):
            raise BadRequest(f"no encoder {name!r}: hash: takes a number of columns\n  try: hash:64")
    elif not HUB_NAME.fullmatch(name):
        raise BadRequest(f"{name!r} is neither a folder nor a name on the hub\n  try: facebook/bart-base")
    return name


def _check_fine_tune(client: Client, name: str) -> None:
    from jdq.store.trained import Models

    models = Models(client.store.root)
    if not models.has(name) and name not in client.jobbook.ids():
        models.path(name)


def check_classifiers(config: Config, heads: Iterable[str]) -> None:
    """Raises UnknownHead for a classifier that the workers of this machine's stack do not allow.

    Workers elsewhere have settings of their own.
    """
    from jdq.worker.heads.options import check_head

    for head in heads:
        if config.embedded:
            check_head(head, allowed=config.allowed_classifiers)
