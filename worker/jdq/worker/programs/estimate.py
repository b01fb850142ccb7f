"""Estimates what an extraction would compute and cost, and changes nothing.

``python -m jdq.worker.programs.estimate VERSION_FOLDER SPEC``: an imported table, and the job's specification in JSON.
For a BART this needs transformers, for other encoders also torch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import numpy.typing as npt

from jdq.store.datasets import DatasetVersion
from jdq.store.errors import UnknownSpace
from jdq.store.store import Store
from jdq.store.trained import Models
from jdq.worker.config import Config, read_config
from jdq.worker.encoder.by_name import poolings_of, space_of
from jdq.worker.encoder.hashing import PREFIX, HashEncoder
from jdq.worker.encoder.options import PRECISIONS
from jdq.worker.jobs.plan import chunk_bounds, chunk_tokens, estimated_tokens, first_rows, missing_in_any
from jdq.worker.queue.connection import BrokerUnreachable, checked, connect
from jdq.worker.queue.contract import Extract, JobState
from jdq.worker.queue.exit_codes import exit_on_error
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.records import Job
from jdq.worker.report.comparison_row import price_of

BATCH_TEXTS = 4096
# The newest say most about the current devices.
LAST_JOBS = 5


def estimate(version: DatasetVersion, spec: Extract, config: Config) -> dict[str, Any]:
    """Token lengths of the distinct texts, and what is left to compute.

    `token_lengths` has (upper bound, number of texts). `device_s`, `wall_s` and `price` are None if no earlier
    extraction with this encoder, or no price, is known.
    """
    store = Store(config.store)
    encoder = Models(store.root).encoder(spec.encoder)
    poolings = poolings_of(encoder, spec.pooling).names
    definition = space_of(
        encoder,
        max_length=spec.max_length,
        precision="float32",
        storage_dtype=spec.storage_dtype,
        pooling=poolings[0],
    )
    rows = first_rows(version.keys())
    counted = _token_counts(version, rows, encoder, definition.max_length)
    precisions = (spec.precision,) if spec.precision in PRECISIONS else PRECISIONS
    spaces = [
        [msgspec.structs.replace(definition, precision=each, pooling=name).digest for name in poolings]
        for each in precisions
    ]
    # What workers choose for "auto" is not known here; most likely the precision of the existing features.
    missing = min((_missing(store, digests, version.keys()[rows]) for digests in spaces), key=np.count_nonzero)
    tokens = int(np.minimum(counted[missing], definition.max_length).sum())
    jobs, devices = _installation(config)
    planned = estimated_tokens(version.n_bytes()[rows[missing]], definition.max_length)
    bounds = chunk_bounds(planned, chunk_tokens(config, devices, int(planned.sum())))
    return {
        "encoder": spec.encoder,
        "poolings": poolings,
        "max_length": definition.max_length,
        "token_lengths": _histogram(counted),
        "truncated": int((counted > definition.max_length).sum()),
        "stored": int((~missing).sum()),
        "to_compute": int(missing.sum()),
        "tokens": tokens,
        "chunks": len(bounds) - 1,
        "devices": len(devices),
        **_cost(tokens, _tokens_per_s(jobs, spec.encoder), len(devices), config.device_hour_price),
    }


def _token_counts(
    version: DatasetVersion, rows: npt.NDArray[np.int64], encoder: str, max_length: int
) -> npt.NDArray[np.uint32]:
    """The number of tokens of the text of each of these rows, before truncation."""
    tokenize = _tokenizer(encoder, max_length)
    batches = [rows[start : start + BATCH_TEXTS] for start in range(0, len(rows), BATCH_TEXTS)]
    return np.concatenate([tokenize(version.texts(batch)).n_tokens for batch in batches])


def _tokenizer(encoder: str, max_length: int) -> Any:
    if encoder.startswith(PREFIX):
        return HashEncoder(encoder, max_length=max_length).tokenize
    from jdq.worker.encoder.folder import find_folder
    from jdq.worker.encoder.tokens import load_tokenizer

    tokenizer = load_tokenizer(find_folder(encoder))
    return lambda texts: tokenizer.tokenize(texts, max_length)


def _missing(store: Store, digests: Sequence[str], keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """(n,) bool: True if one of the feature spaces, which may not exist, has no row of the key."""
    try:
        return missing_in_any([store.open_space(digest) for digest in digests], keys)
    except UnknownSpace:
        return np.ones(len(keys), dtype=bool)


def _histogram(counts: npt.NDArray[np.uint32]) -> list[tuple[int, int]]:
    """(upper bound, number of texts), the bounds doubling from 16."""
    bounds = 16 << np.arange(28)
    numbers = np.bincount(np.searchsorted(bounds, counts), minlength=1)
    return list(zip(bounds[: len(numbers)].tolist(), numbers.tolist(), strict=True))


def _installation(config: Config) -> tuple[list[Job], list[str]]:
    """The jobs, and the devices of the live workers that compute features; none if Redis does not answer."""
    try:
        jobbook = JobBook(checked(connect(config), config))
    except BrokerUnreachable:
        return [], []
    return jobbook.jobs(), [w.device for w in jobbook.workers() if w.queue == "gpu" and w.state != "dead"]


def _tokens_per_s(jobs: Sequence[Job], encoder: str) -> float | None:
    """Tokens per second of one device in the last extractions with this encoder."""
    counts = [
        job.counts
        for job in jobs
        if isinstance(job.spec, Extract)
        and job.spec.encoder == encoder
        and job.state == JobState.SUCCEEDED
        and job.counts.get("device_ms")
    ][:LAST_JOBS]
    device_s = sum(each["device_ms"] for each in counts) / 1000
    return sum(each["tokens"] for each in counts) / device_s if counts else None


def _cost(tokens: int, tokens_per_s: float | None, devices: int, device_hour_price: float) -> dict[str, float | None]:
    device_s = tokens / tokens_per_s if tokens_per_s else None if tokens else 0.0
    return {
        "tokens_per_s": tokens_per_s,
        "device_s": device_s,
        "wall_s": None if device_s is None else device_s / max(1, devices),
        "price": price_of(device_s, device_hour_price),
    }


@click.command()
@click.argument("version", type=click.Path(path_type=Path))
@click.argument("spec")
@exit_on_error()
def main(version: Path, spec: str) -> None:
    """Print the estimate as JSON; null if describing the encoder needs torch, which is not installed."""
    result = None
    try:
        result = estimate(DatasetVersion(version), msgspec.json.decode(spec, type=Extract), read_config())
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
    click.echo(msgspec.json.encode(result))


if __name__ == "__main__":
    main()
