"""A head with its encoder, or a fine-tuned model, loaded into this process to classify texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jdq.store.store import Store
from jdq.store.trained import Heads, Models
from jdq.worker.heads.certainty import Requested
from jdq.worker.heads.conformal import Certain
from jdq.worker.jobs.predictions import Naming, naming_of

if TYPE_CHECKING:
    from jdq.store.spaces.definition import FeatureSpace
    from jdq.worker.encoder.by_name import FeatureEncoder, TokenizedTexts
    from jdq.worker.heads.head import TrainedHead
    from jdq.worker.heads.record import HeadRecord

EMPTY, UNSURE = "the text is empty", "too uncertain for a label"
NOTHING = Requested()
# If the tokenizer does not know this share of a text, the encoder is probably the wrong one.
UNKNOWN_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class NoTokens:
    """Texts for a head that reads all of their words, and no tokens."""

    n_tokens: np.ndarray
    n_unknown: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier(Naming):
    """Classifies texts of at most max_length tokens. tokenize: texts as its encoder takes them. compute: from these and
    the texts, (texts, classes) float32. by_store: the same from texts, with features kept in the store if it uses
    features.
    """

    max_length: int
    tokenize: Callable[[Sequence[str]], TokenizedTexts | NoTokens]
    compute: Callable[[Any, Sequence[str]], np.ndarray]
    by_store: Callable[[Sequence[str]], np.ndarray]

    def predictions(self, texts: Sequence[str], requested: Requested = NOTHING) -> Iterator[dict[str, Any]]:
        """For each text: its label, the probability of each class, most likely first, and warnings; also its set of
        labels, if requested.

        An empty text has neither label nor probabilities, and one that is too uncertain no label. Raises NoCertainty.
        """
        filled = [text for text in texts if text.strip()]
        answers = iter(self._answers(filled, self.certain(requested)) if filled else ())
        empty = {"label": None, "probabilities": None, "warnings": [EMPTY]}
        return (next(answers) if text.strip() else empty for text in texts)

    def _answers(self, texts: Sequence[str], certain: Certain) -> Iterator[dict[str, Any]]:
        """The same for texts that are not empty, tokenized once."""
        tokens = self.tokenize(texts)
        probabilities = self.compute(tokens, texts)
        labels = self.labels(probabilities, certain)
        for label, values, warnings in zip(labels, probabilities.tolist(), self.warnings(tokens), strict=True):
            pairs = sorted(zip(self.classes, values, strict=True), key=lambda pair: -pair[1])
            unsure = certain.least_to_answer is not None and not label
            yield {
                "label": None if unsure else label,
                **(
                    {}
                    if (least := certain.least_in_set) is None
                    else {"set": [name for name, p in pairs if p >= least]}
                ),
                "probabilities": dict(pairs),
                "warnings": [*warnings, *([UNSURE] if unsure else [])],
            }

    def warnings(self, tokens: TokenizedTexts | NoTokens) -> list[list[str]]:
        """For each text, why its prediction may be wrong."""
        counts = zip(tokens.n_tokens.tolist(), tokens.n_unknown.tolist(), strict=True)
        return [list(self._faults(n_tokens, n_unknown)) for n_tokens, n_unknown in counts]

    def _faults(self, n_tokens: int, n_unknown: int) -> Iterator[str]:
        if n_tokens > self.max_length:
            yield f"truncated: {n_tokens:,} tokens, of which {self.max_length:,} are used"
        if n_unknown > UNKNOWN_SHARE * n_tokens:
            yield f"the tokenizer does not know {n_unknown:,} of {n_tokens:,} tokens"


def load_classifier(store: Store, head: str | None, model: str | None, device: str) -> Classifier:
    """The classifier of the head or model with this id.

    Raises UnknownTrained, HeadError and FineTuneError. Computing raises EncoderError, and WrongFeatures if the head's
    encoder has changed.
    """
    return _of_head(store, head, device) if head else _of_model(Models(store.root).path(model or ""), device)


def _of_head(store: Store, head_id: str, device: str) -> Classifier:
    """Computes features in the head's own feature space. The encoder is loaded when it is first needed."""
    from jdq.worker.heads.features import with_texts
    from jdq.worker.heads.files import load_head
    from jdq.worker.jobs.stored_features import stored_features

    head = load_head(Heads(store.root).path(head_id))
    if not head.predictor.reads_features:
        return _of_words(head)
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
        **naming_of(head.record),
        max_length=space.definition.max_length,
        tokenize=lambda texts: encoder().tokenize(texts),
        compute=compute,
        by_store=by_store,
    )


def _of_words(head: TrainedHead) -> Classifier:
    """The classifier of a head that reads only texts, and needs no encoder."""
    from jdq.worker.heads.features import unread, with_texts

    def by_words(texts: Sequence[str]) -> np.ndarray:
        return head.predict_proba(with_texts(unread(len(texts), head.record.dim), texts))

    def tokenize(texts: Sequence[str]) -> NoTokens:
        none = np.zeros(len(texts), dtype=np.int64)
        return NoTokens(n_tokens=none, n_unknown=none)

    return Classifier(
        **naming_of(head.record),
        max_length=0,
        tokenize=tokenize,
        compute=lambda _, texts: by_words(texts),
        by_store=by_words,
    )


def _encoder(files: str, record: HeadRecord, definition: FeatureSpace, device: str) -> FeatureEncoder:
    """The encoder of a head's features. Raises WrongFeatures if its files have changed."""
    from jdq.worker.encoder.by_name import load, space_of
    from jdq.worker.heads.files import require_space

    length, precision, pooling = definition.max_length, definition.precision, definition.pooling
    current = space_of(
        files, max_length=length, precision=precision, storage_dtype=definition.storage_dtype, pooling=pooling
    )
    require_space(record, current.digest)
    return load(files, max_length=length, precision=precision, device=device, poolings=(pooling,))


def _of_model(folder: Path, device: str) -> Classifier:
    from jdq.worker.finetune.model import load_fine_tuned

    model = load_fine_tuned(folder, device=device)
    length = model.record.max_length
    return Classifier(
        classes=model.classes,
        multi_label=model.record.multi_label,
        label_separator=model.record.options.label_separator,
        thresholds=model.record.thresholds,
        certainty=model.record.certainty,
        max_length=length,
        tokenize=lambda texts: model.tokenizer.tokenize(texts, length),
        compute=lambda tokens, _: model.proba_of_tokens(tokens),
        by_store=model.predict_proba,
    )
