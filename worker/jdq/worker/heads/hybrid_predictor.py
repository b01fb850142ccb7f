"""How the head `hybrid` predicts: scores of the features plus scores of the texts' terms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from jdq.worker.heads.errors import DamagedHead
from jdq.worker.heads.predictors import Array, Float32, LayersPredictor, apply_link
from jdq.worker.heads.terms import ANALYZERS, Terms, Vocabulary

LAYER = ("weights.0", "bias.0")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HybridPredictor:
    """layer: of the features. term_weights: (terms, classes) float32."""

    layer: LayersPredictor
    terms: Terms
    term_weights: Float32

    @property
    def kind(self) -> str:
        return "hybrid"

    @property
    def dim(self) -> int:
        return self.layer.dim

    @property
    def outputs(self) -> int:
        return self.layer.outputs

    @property
    def reads_texts(self) -> bool:
        return True

    @property
    def reads_features(self) -> bool:
        return bool(self.layer.layers[0][0].any())

    def predict_block(self, X: Float32, texts: Sequence[str] = ()) -> Float32:
        return apply_link(self.scores(X, texts), self.layer.link)

    def scores(self, X: Float32, texts: Sequence[str] = ()) -> Float32:
        scores: Float32 = self.layer.scores(X) + self.terms.rows(texts) @ self.term_weights
        return scores

    def arrays(self) -> dict[str, Array]:
        arrays = self.layer.arrays() | {"term_weights": self.term_weights}
        for each in self.terms.vocabularies:
            encoded = [term.encode() for term in each.terms]
            arrays[f"{each.analyzer}.utf8"] = np.frombuffer(b"".join(encoded), dtype=np.uint8)
            arrays[f"{each.analyzer}.ends"] = np.cumsum([len(term) for term in encoded], dtype=np.int64)
            arrays[f"{each.analyzer}.idf"] = each.idf
        return arrays

    def settings(self) -> dict[str, Any]:
        return self.layer.settings() | {"analyzers": [each.analyzer for each in self.terms.vocabularies]}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], settings: Mapping[str, Any]) -> "HybridPredictor":
        """Raises DamagedHead."""
        names = settings.get("analyzers")
        if not isinstance(names, list) or not all(name in ANALYZERS for name in names) or len(set(names)) < len(names):
            raise DamagedHead(f"this version of jdq has no analyzers {names!r}\n  try: a newer jdq")
        expected = {*LAYER, "term_weights", *(f"{name}.{part}" for name in names for part in ("utf8", "ends", "idf"))}
        if set(arrays) != expected:
            raise DamagedHead(f"the head's arrays are not those of a hybrid: {', '.join(sorted(arrays)[:8])}")
        terms = Terms(vocabularies=tuple(_vocabulary(name, arrays) for name in names))
        layer = LayersPredictor.from_arrays({name: arrays[name] for name in LAYER}, {**settings, "layers": 1})
        weights = arrays["term_weights"]
        if weights.dtype != np.float32 or weights.shape != (terms.columns, layer.outputs):
            raise DamagedHead(f"the head has {terms.columns} terms; their weights are {weights.shape}")
        if not np.isfinite(weights).all():
            raise DamagedHead("the weights of the head's terms hold values that are not finite")
        return cls(layer=layer, terms=terms, term_weights=weights)


def _vocabulary(analyzer: str, arrays: Mapping[str, Array]) -> Vocabulary:
    utf8, ends, idf = (arrays[f"{analyzer}.{part}"] for part in ("utf8", "ends", "idf"))
    types = [array.dtype.str for array in (utf8, ends, idf)]
    if types != ["|u1", "<i8", "<f4"] or ends.shape != idf.shape:
        raise DamagedHead(f"the head's {analyzer} do not fit together")
    if ends.ndim != 1 or not len(ends) or (np.diff(ends, prepend=0) <= 0).any() or ends[-1] != len(utf8):
        raise DamagedHead(f"the head's {analyzer} do not end where their text ends")
    if not (np.isfinite(idf).all() and (idf > 0).all()):
        raise DamagedHead(f"the frequencies of the head's {analyzer} are not positive numbers")
    data, bounds = utf8.tobytes(), [0, *ends.tolist()]
    try:
        terms = tuple(data[start:stop].decode() for start, stop in pairwise(bounds))
    except UnicodeDecodeError as error:
        raise DamagedHead(f"the head's {analyzer} are not UTF-8: {error}") from error
    if len(set(terms)) < len(terms):
        raise DamagedHead(f"the head's {analyzer} repeat")
    return Vocabulary(analyzer=analyzer, terms=terms, idf=idf)
