"""The page about a head or a fine-tuned model, from the store."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from jdq.store.errors import MissingFeatures
from jdq.store.job_files import JobFiles
from jdq.store.store import Store
from jdq.store.table.written import read_records
from jdq.store.trained import Heads, Models
from jdq.worker.config import read_config
from jdq.worker.jobs.labelled import LabelledRows
from jdq.worker.jobs.learnt import recorded_rows
from jdq.worker.queue.contract import WITH_PAGE, FindLabelErrors
from jdq.worker.report.comparison import BASELINE, compare_dataset
from jdq.worker.report.comparison_row import price_of
from jdq.worker.report.setting import difference, test_setting_of

if TYPE_CHECKING:
    from jdq.store.spaces.rows import FeatureRows
    from jdq.worker.heads.features import Features
    from jdq.worker.heads.head import TrainedHead
    from jdq.worker.report.subject import Compared, LearningPoint, Subject

log = logging.getLogger(__name__)

# A learning curve trains a head six times, so it is skipped for larger train parts.
CURVE_ROWS = 20_000


def page_of(store: Store, job: str, device: str = "cpu") -> str:
    """The page about the job's head, model or table; a model predicts on `device`.

    Raises UnknownTrained, NoResult, HeadError, FineTuneError.
    """
    from jdq.worker.report.page import render

    # Readers can do nothing about the warnings of libraries (a missing glyph, UMAP's use of one thread).
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in WITH_PAGE:
            if (path := JobFiles(store.root).folder(job) / kind.table).is_file():
                return _of_table(store, job, path)
        return render(_of_head(store, job) if Heads(store.root).has(job) else _of_model(store, job, device))


def _of_table(store: Store, job: str, path: Path) -> str:
    from jdq.worker.report.duplicates import duplicates_page
    from jdq.worker.report.label_errors import label_errors_page

    files = JobFiles(store.root)
    files.check(path.with_suffix(".json"))
    page = label_errors_page if path.name == FindLabelErrors.table else duplicates_page
    return page(files.get_result(job), read_records(path))


def _of_head(store: Store, job: str) -> Subject:
    from jdq.worker.heads.features import FeaturesAndTexts
    from jdq.worker.heads.files import load_head
    from jdq.worker.heads.split import TEST

    head = load_head(Heads(store.root).path(job))
    record = head.record
    origin = record.origin
    data = recorded_rows(store, msgspec.to_builtins(record))
    stored = store.open_space(origin.space).rows(data.keys)
    features = FeaturesAndTexts(stored, data.texts)
    test = data.split.rows(TEST)
    return _subject(
        store,
        job,
        f"{record.head} on {origin.dataset}",
        msgspec.to_builtins(record),
        data,
        record.label_separator,
        head.predict_proba(FeaturesAndTexts(stored[test], lambda rows: data.texts(test[rows]))),
        stored,
        learning=_learning_curve(head, features, data),
    )


def _of_model(store: Store, job: str, device: str) -> Subject:
    from jdq.worker.finetune.model import load_fine_tuned
    from jdq.worker.heads.split import TEST

    folder = Models(store.root).path(job)
    model = load_fine_tuned(folder, device=device)
    record = msgspec.to_builtins(model.record)
    origin, label_separator = model.record.origin, model.record.options.label_separator
    data = recorded_rows(store, record)
    probabilities = model.predict_proba(data.texts(data.split.rows(TEST)))
    name = f"Fine-tune on {origin.dataset}"
    return _subject(store, job, name, record, data, label_separator, probabilities, _last_features(store, data, record))


def _subject(
    store: Store,
    job: str,
    name: str,
    record: dict[str, Any],
    data: LabelledRows,
    label_separator: str | None,
    probabilities: np.ndarray,
    features: FeatureRows | None,
    *,
    learning: Sequence[LearningPoint] = (),
) -> Subject:
    from jdq.worker.heads.labels import read_targets
    from jdq.worker.report.subject import Subject

    origin = record["origin"]
    targets = read_targets(data.labels, label_separator=label_separator)
    return Subject(
        name=name,
        kind="head" if "head" in record else "fine-tune",
        dataset=origin["dataset"],
        record=record,
        classes=targets.classes,
        codes=targets.codes,
        texts=data.texts(),
        split=data.split,
        probabilities=probabilities,
        X=features,
        compared=_compared(store, job, record),
        learning=learning,
    )


def _learning_curve(head: TrainedHead, features: Features, data: LabelledRows) -> Sequence[LearningPoint]:
    """Empty for a multi-label head, a large train part, or a head that cannot be trained on fewer rows."""
    from jdq.worker.heads.errors import HeadError
    from jdq.worker.heads.features import no_check
    from jdq.worker.heads.labels import read_targets
    from jdq.worker.heads.options import HeadOptions
    from jdq.worker.heads.split import TEST
    from jdq.worker.heads.train import make_fit_context
    from jdq.worker.report.analysis import learning_curve

    record = head.record
    if record.multi_label or record.trained_rows > CURVE_ROWS:
        return ()
    options = HeadOptions(
        head=record.head,
        params=record.params,
        seed=record.seed,
        class_weight=record.class_weight,
        per_class=record.per_class,
    )
    context = make_fit_context(features, read_targets(data.labels), data.split, options, data.keys, no_check)
    try:
        return learning_curve(context, data.split.rows(TEST))
    except HeadError as error:
        log.warning("no learning curve: %s", error)
        return ()


def _last_features(store: Store, data: LabelledRows, record: dict[str, Any]) -> FeatureRows | None:
    """The features of the last extraction, for the map; None if the dataset has none."""
    origin = record["origin"]
    spaces = store.datasets.get(origin["dataset"], origin["dataset_version"]).spaces()
    try:
        return store.open_space(spaces[0].space).rows(data.keys) if spaces else None
    except MissingFeatures:
        return None


def _compared(store: Store, job: str, record: dict[str, Any]) -> list[Compared]:
    """All heads and fine-tunes of the dataset, with those measured on other rows marked."""
    from jdq.worker.report.subject import Compared

    mine = test_setting_of(record)
    return [
        Compared(
            name=line.name if line.id == BASELINE else f"{line.name} {line.id.rpartition('-')[2]}",
            details=line.details,
            why=difference(line.setting, mine),
            kind="fine-tune" if line.name == "fine-tune" else "head",
            metrics=line.metrics,
            intervals=line.intervals,
            wall_time_s=line.wall_time_s,
            device=line.device,
            device_s=line.device_s,
            computed=line.computed,
            tokens=line.tokens,
            price=price_of(line.device_s, read_config().device_hour_price),
            seed=line.seed,
            is_subject=line.id == job,
        )
        for line in compare_dataset(store, record["origin"]["dataset"]).lines
    ]
