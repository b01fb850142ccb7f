"""Where an encoder's files are: a folder, or a local snapshot from the model hub."""

import json
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from jdq.worker.encoder.errors import DamagedEncoder, EncoderNotFound, UnsafeWeights
from jdq.worker.encoder.pooling import CONFIG as POOLING_CONFIG

WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
# All that jdq ever downloads from the hub: no pickle and no code.
PATTERNS = [
    *("config.json", POOLING_CONFIG, WEIGHTS, WEIGHTS_INDEX, "model-*.safetensors"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "spm.model"),
]
# The hub's own client retries for minutes; one small request detects a missing network in seconds.
PROBE_TIMEOUT_S = 8.0


def find_folder(name: str) -> Path:
    """The folder with the files of the encoder `name`, which is a path or a name on the hub.

    A path takes precedence over a hub name, a local snapshot over the network. Raises EncoderNotFound, immediately or
    after PROBE_TIMEOUT_S if the hub cannot be reached; UnsafeWeights and DamagedEncoder as `check_files`.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        check_files(path)
        return path.resolve()
    if path.is_file():
        raise EncoderNotFound(f"{name} is a file; an encoder is a folder with config.json and {WEIGHTS}")
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise EncoderNotFound(f"no folder {name}\n  try: jdq model tiny DIR, for a tiny random encoder to try jdq with")
    snapshot = _installed_snapshot(name) or _download(name)
    check_files(snapshot)
    return snapshot


def check_files(folder: Path) -> None:
    """Raises if the folder has no config.json, no weights, or only a pickle."""
    if not (folder / "config.json").is_file():
        raise DamagedEncoder(f"{folder} has no config.json, so it is not a model's folder")
    if (folder / WEIGHTS).is_file() or (folder / WEIGHTS_INDEX).is_file():
        return
    for pickle in PICKLES:
        if (folder / pickle).exists():
            raise UnsafeWeights(
                f"{folder} has its weights only as a pickle ({pickle}), which can run any code when it is read\n"
                '  if you trust it, convert it once: python -c "from transformers import AutoModel; '
                f"AutoModel.from_pretrained('{folder}').save_pretrained('{folder}')\""
            )
    raise DamagedEncoder(f"{folder} has no weights: neither {WEIGHTS} nor {WEIGHTS_INDEX}")


def read_config(folder: Path) -> dict[str, Any]:
    """config.json as it is. Raises DamagedEncoder if it is no JSON object, or names no model type."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DamagedEncoder(f"{folder / 'config.json'} is not JSON: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise DamagedEncoder(f"{folder / 'config.json'} names no model_type")
    return config


def _installed_snapshot(name: str) -> Path | None:
    """The snapshot of a hub name that an earlier download left on this machine, if it is complete."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, allow_patterns=PATTERNS, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise EncoderNotFound(f"{name} is neither a local folder nor a possible name on the hub") from error
    complete = (folder / "config.json").is_file() and any((folder / f).is_file() for f in (WEIGHTS, WEIGHTS_INDEX))
    return folder if complete else None


def _download(name: str) -> Path:
    """Downloads config, tokenizer and safetensors of a hub name, and nothing else."""
    from huggingface_hub import snapshot_download

    _check_hub(name)
    try:
        return Path(snapshot_download(name, allow_patterns=PATTERNS, etag_timeout=PROBE_TIMEOUT_S))
    except OSError as error:  # errors of the hub, and of the network below it
        raise _unreachable(name, str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def _check_hub(name: str) -> None:
    """Raises EncoderNotFound if the hub is switched off, cannot be reached, or has no such name."""
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise _unreachable(name, "HF_HUB_OFFLINE is set")
    request = urllib.request.Request(f"{constants.ENDPOINT}/{name}/resolve/main/config.json", method="HEAD")
    if token := get_token():
        request.add_header("authorization", f"Bearer {token}")
    answers: list[BaseException | None] = []

    def ask() -> None:
        try:
            urllib.request.urlopen(request, timeout=PROBE_TIMEOUT_S).close()
            answers.append(None)
        except (OSError, ValueError) as error:
            answers.append(error)
            if isinstance(error, urllib.error.HTTPError):
                error.close()

    # In a thread, because looking up a host name has no timeout.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PROBE_TIMEOUT_S)
    error = answers[0] if answers else TimeoutError(f"no answer within {PROBE_TIMEOUT_S:.0f} s")
    if isinstance(error, urllib.error.HTTPError) and error.code in (401, 403, 404):
        raise EncoderNotFound(
            f"the hub has no model {name}, or requires a login (HTTP {error.code}), and there is no such local folder\n"
            "  check the spelling, or: hf auth login"
        )
    if error is not None:
        raise _unreachable(name, str(error))


def _unreachable(name: str, reason: str) -> EncoderNotFound:
    return EncoderNotFound(
        f"{name} is not a folder, is not on this machine yet, and the hub cannot be reached: {reason}\n"
        f"  on a machine with a network: hf download {name} --local-dir DIR, copy DIR here, "
        "and pass --encoder DIR\n"
        "  or, to try jdq offline: jdq model tiny DIR"
    )
