"""Few-shot sampling: training a head on a few texts of each class."""

import numpy as np
import numpy.typing as npt

from jdq.worker.heads.labels import Targets
from jdq.worker.heads.split import Rows


def per_class_rows(
    targets: Targets, rows: Rows, per_class: int, *, seed: int, keys: npt.NDArray[np.uint8] | None = None
) -> Rows:
    """At most `per_class` of the rows of each class, drawn by the seed, ascending; with keys, each text at most once.

    A row of several labels counts for each of them.
    """
    order = np.random.default_rng(seed).permutation(rows)
    if keys is not None:
        order = order[np.sort(np.unique(keys[order], axis=0, return_index=True)[1])]
    chosen: set[int] = set()
    for position in range(len(targets.classes)):
        of_class = targets.codes[order, position] if targets.multi_label else targets.codes[order] == position
        chosen.update(order[of_class][:per_class].tolist())
    return np.array(sorted(chosen), dtype=np.intp)
