"""A head with its encoder, or a fine-tuned model, loaded into this process to classify texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jdq.store.store import open_store
from jdq.store.trained import Models
from jdq.worker.config import read_config
from jdq.worker.jobs.predictions import Naming
from jdq.worker.process.devices import device_of

if TYPE_CHECKING:
    from jdq.store.spaces.definition import FeatureSpace
    from jdq.worker.encoder.by_name import FeatureEncoder, TokenizedTexts
    from jdq.worker.heads.record import HeadRecord

# A text of which the tokenizer does not know this share is probably not one for this encoder.
UNKNOWN_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier(Naming):
    """What classifies texts, of at most max_length tokens.

    tokenize: texts as its encoder takes them. compute: of such and the texts, (texts, classes) float32. by_store: the
    same of texts, by features from and into the store where it uses features.
    """

    max_length: int
    tokenize: Callable[[Sequence[str]], TokenizedTexts]
    compute: Callable[[Any, Sequence[str]], np.ndarray]
    by_store: Callable[[Sequence[str]], np.ndarray]

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, classes) float32."""
        return self.compute(self.tokenize(texts), texts)

    def warnings(self, tokens: TokenizedTexts) -> list[list[str]]:
        """For each text, why its prediction may be wrong."""
        counts = zip(tokens.n_tokens.tolist(), tokens.n_unknown.tolist(), strict=True)
        return [list(self._faults(n_tokens, n_unknown)) for n_tokens, n_unknown in counts]

    def _faults(self, n_tokens: int, n_unknown: int) -> Iterator[str]:
        if n_tokens > self.max_length:
            yield f"truncated: {n_tokens:,} tokens, of which {self.max_length:,} are used"
        if n_unknown > UNKNOWN_SHARE * n_tokens:
            yield f"the tokenizer does not know {n_unknown:,} of {n_tokens:,} tokens"


def load_classifier(trained: Path) -> Classifier:
    """From a head's file or a fine-tuned model's folder.

    Raises HeadError and FineTuneError. What it computes raises EncoderError, and WrongFeatures where the head's encoder
    has changed.
    """
    return _of_model(trained) if trained.is_dir() else _of_head(trained)


def _of_head(head_file: Path) -> Classifier:
    """Computes features in the head's own feature space. The encoder is loaded when it is first needed."""
    from jdq.worker.heads.features import with_texts
    from jdq.worker.heads.files import load_head
    from jdq.worker.jobs.stored_features import stored_features

    head = load_head(head_file)
    config = read_config()
    device = device_of(config, "gpu")
    store = open_store(config.store)
    name = head.record.origin.encoder
    space = store.open_space(head.record.origin.space)

    @cache
    def encoder() -> FeatureEncoder:
        return _encoder(Models(store.root).encoder(name), head.record, space.definition, device)

    def compute(tokens: Any, texts: Sequence[str]) -> np.ndarray:
        features = encoder().encode(tokens).astype(space.definition.storage_dtype)
        return head.predict_proba(with_texts(features, texts))

    def by_store(texts: Sequence[str]) -> np.ndarray:
        return head.predict_proba(with_texts(stored_features(space, texts, encoder, name=name, device=device), texts))

    return Classifier(
        classes=head.classes,
        multi_label=head.record.multi_label,
        label_separator=head.record.label_separator,
        thresholds=head.record.thresholds,
        max_length=space.definition.max_length,
        tokenize=lambda texts: encoder().tokenize(texts),
        compute=compute,
        by_store=by_store,
    )


def _encoder(files: str, record: HeadRecord, definition: FeatureSpace, device: str) -> FeatureEncoder:
    """The encoder of a head's features. Raises WrongFeatures where its files have changed."""
    from jdq.worker.encoder.by_name import load, space_of
    from jdq.worker.heads.files import require_space

    length, precision, pooling = definition.max_length, definition.precision, definition.pooling
    current = space_of(
        files, max_length=length, precision=precision, storage_dtype=definition.storage_dtype, pooling=pooling
    )
    require_space(record, current.digest)
    return load(files, max_length=length, precision=precision, device=device, poolings=(pooling,))


def _of_model(folder: Path) -> Classifier:
    from jdq.worker.finetune.model import load_fine_tuned

    model = load_fine_tuned(folder, device=device_of(read_config(), "gpu"))
    length = model.record.max_length
    return Classifier(
        classes=model.classes,
        multi_label=model.record.multi_label,
        label_separator=model.record.options.label_separator,
        thresholds=model.record.thresholds,
        max_length=length,
        tokenize=lambda texts: model.tokenizer.tokenize(texts, length),
        compute=lambda tokens, _: model.proba_of_tokens(tokens),
        by_store=model.predict_proba,
    )
