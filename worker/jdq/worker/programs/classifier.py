"""A head with its encoder, or a fine-tuned model, loaded into this process to classify texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jdq.store.store import open_store
from jdq.store.trained import Models
from jdq.worker.config import read_config
from jdq.worker.process.devices import device_of

if TYPE_CHECKING:
    from jdq.worker.encoder.by_name import TokenizedTexts

# A text of which the tokenizer does not know this share is probably not one for this encoder.
UNKNOWN_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """classes, in the order of probabilities; label_separator: of label sets, None for one label per text.
    thresholds: of label sets, as in `predicted_sets`.

    tokenize: texts as its encoder takes them. compute: of such, (texts, classes) float32. max_length: in tokens.
    """

    classes: tuple[str, ...]
    multi_label: bool
    label_separator: str | None
    thresholds: tuple[float, ...]
    max_length: int
    tokenize: Callable[[Sequence[str]], TokenizedTexts]
    compute: Callable[[Any], np.ndarray]

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, classes) float32."""
        return self.compute(self.tokenize(texts))

    def labels(self, probabilities: np.ndarray) -> list[str]:
        """The label of each row of probabilities."""
        from jdq.worker.heads.decision import predicted_labels

        return predicted_labels(
            probabilities,
            self.classes,
            multi_label=self.multi_label,
            label_separator=self.label_separator,
            thresholds=self.thresholds,
        )

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

    Raises HeadError and EncoderError, among them WrongFeatures where the head's encoder has changed, and FineTuneError.
    """
    return _of_model(trained) if trained.is_dir() else _of_head(trained)


def _of_head(head_file: Path) -> Classifier:
    """Computes features in the head's own feature space."""
    from jdq.worker.encoder.by_name import load, space_of
    from jdq.worker.heads.files import load_head, require_space

    head = load_head(head_file)
    config = read_config()
    store = open_store(config.store)
    definition = store.open_space(head.record.origin.space).definition
    name = Models(store.root).encoder(head.record.origin.encoder)
    length, precision, pooling = definition.max_length, definition.precision, definition.pooling
    current = space_of(
        name, max_length=length, precision=precision, storage_dtype=definition.storage_dtype, pooling=pooling
    )
    require_space(head.record, current.digest)
    encoder = load(name, max_length=length, precision=precision, device=device_of(config, "gpu"), poolings=(pooling,))

    def compute(tokens: Any) -> np.ndarray:
        return head.predict_proba(encoder.encode(tokens).astype(definition.storage_dtype))

    return Classifier(
        classes=head.classes,
        multi_label=head.record.multi_label,
        label_separator=head.record.label_separator,
        thresholds=head.record.thresholds,
        max_length=length,
        tokenize=encoder.tokenize,
        compute=compute,
    )


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
        compute=model.proba_of_tokens,
    )
