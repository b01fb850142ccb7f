"""Whether what `jdq submit auto` forecasts comes true: the accuracy after 1,000 more labels, on real data.

    python benchmarks/forecast.py [SET...] [--repeats N] [--store DIR]

Of each set, 20 % of the texts are tested. The default head learns from 300, 600 and so on of the others, forecasts its
accuracy after 1,000 more labels, and is trained on them, too. Printed are both, and at the end the share of intervals
that hold the accuracy that was reached (95 % is promised), the mean error of the forecast, and that of "no change".

Needs what benchmarks/accuracy.py needs, and shares its --store. Caveat: forecasts of one set share its test texts.
"""

import argparse
import tempfile
from typing import Any

import numpy as np
from accuracy import Data, minilm, read, show  # the module beside this one

SETS = ("trec_5952", "cr_3771", "banking77_13083")
ROWS = (300, 600, 1200, 2400)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=", ".join(SETS))
    parser.add_argument("--repeats", type=int, default=3, help="draws of the rows that are learnt from")
    parser.add_argument("--store", help="folder for datasets and features (default: a temporary one)")
    chosen = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen.sets or SETS:
            data = read(name, minilm(), chosen.store or folder)
            found += [forecasts(name, data, rows, seed) for rows in ROWS for seed in range(chosen.repeats)]
    held, error, change = np.array([each for each in found if each is not None]).mean(axis=0)
    show(f"held by {held:.0%} of the intervals; mean error {100 * error:.1f} points, of no change {100 * change:.1f}")


def forecasts(name: str, data: Data, rows: int, seed: int) -> tuple[bool, float, float] | None:
    """Whether the interval held, the error of the forecast, and the change; None of a set with too few rows."""
    from jdq.worker.heads.forecast import LABELS
    from jdq.worker.heads.split import TEST, make_split

    split = make_split(data.labels, data.keys)
    others = np.random.default_rng(seed).permutation(np.flatnonzero(split.parts != TEST))
    if len(others) < rows + LABELS:
        return None
    test = split.rows(TEST)
    made, _ = trained(data, others[:rows], test, forecasting=True)
    reached = trained(data, others[: rows + LABELS], test, forecasting=False)[1]
    if made is None:
        return None
    middle, low, high = made.with_labels
    now = made.curve[-1][1]
    show(f"{name:20} {rows:5,} rows {now:.3f}, forecast {middle:.3f} [{low:.3f}, {high:.3f}], reached {reached:.3f}")
    return low <= reached <= high, abs(middle - reached), abs(now - reached)


def trained(data: Data, train: Any, test: Any, *, forecasting: bool) -> tuple[Any, float]:
    """The forecast, and the accuracy on the test rows."""
    from jdq.worker.heads.features import no_check, with_texts
    from jdq.worker.heads.fitted import FitContext
    from jdq.worker.heads.fitting import fit, probabilities_of
    from jdq.worker.heads.forecast import forecast
    from jdq.worker.heads.labels import read_targets
    from jdq.worker.heads.options import HeadOptions

    context = FitContext(
        X=with_texts(data.mean, data.texts.tolist()),
        targets=read_targets(data.labels),
        train=np.sort(train),
        validation=np.arange(0),
        options=HeadOptions(head="auto"),
        check=no_check,
        keys=data.keys,
    )
    probabilities = probabilities_of(fit(context).predictor, context.X, test)
    accuracy = float((probabilities.argmax(axis=1) == context.targets.codes[test]).mean())
    return (forecast(context, test, probabilities, ()) if forecasting else None), accuracy


if __name__ == "__main__":
    main()
