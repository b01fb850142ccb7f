"""The section about abstention and sets of labels: what they promise, and what they keep on the test part."""

import msgspec
import numpy as np
from markupsafe import Markup

from jdq.worker.heads.certainty import Certainty, Requested
from jdq.worker.heads.conformal import Certain, certain
from jdq.worker.report.sections import Section, plain_table
from jdq.worker.report.subject import Subject

LEVELS = (0.8, 0.9, 0.95, 0.99)
COLUMNS = ("promised", "answered", "right of these", "right label in the set", "labels per set", "empty sets")


def certainty_section(subject: Subject) -> Section | None:
    """None where the classifier promises nothing."""
    if not subject.record.get("certainty"):
        return None
    certainty = msgspec.convert(subject.record["certainty"], Certainty)
    rows = "".join(
        _row(subject, level, certain(Requested(abstain_at=level, sets=level), certainty)) for level in LEVELS
    )
    text = (
        "On the test part: with --abstain-at, uncertain texts get no label; with --sets, each text gets a set of "
        f"labels. Chosen on {certainty.rows:,} other rows."
    )
    return Section(title="How certain", text=text, body=Markup(plain_table(COLUMNS, rows, "How certain")), wide=True)


def _row(subject: Subject, level: float, least: Certain) -> str:
    probabilities, codes = subject.probabilities, subject.test_codes
    answered = probabilities.max(axis=1) >= least.least_to_answer
    right = (probabilities.argmax(axis=1) == codes)[answered]
    sets = probabilities >= least.least_in_set
    sizes = sets.sum(axis=1)
    cells = (
        f"{answered.mean():.1%}",
        f"{right.mean():.1%}" if answered.any() else "-",
        f"{sets[np.arange(len(codes)), codes].mean():.1%}",
        f"{sizes.mean():.2f}",
        f"{(sizes == 0).mean():.1%}",
    )
    return f"<tr><th scope=row>{level:.0%}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
