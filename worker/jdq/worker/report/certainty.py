"""The section about abstention and sets of labels: what they promise, and how well they keep it on the test part."""

import msgspec
from markupsafe import Markup

from jdq.worker.heads.certainty import Certainty, Requested
from jdq.worker.heads.conformal import Certain, certain, certainty_of_rows
from jdq.worker.heads.fitted import row_keys
from jdq.worker.report.sections import Section, plain_table
from jdq.worker.report.subject import Subject

LEVELS = (0.8, 0.9, 0.95, 0.99)
COLUMNS = ("promised", "answered", "right of these", "right labels in the set", "labels per set", "empty sets")


def certainty_section(subject: Subject) -> Section | None:
    """None if the classifier promises nothing."""
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
    codes, thresholds = subject.test_codes, tuple(subject.record.get("thresholds", ()))
    kept = certainty_of_rows(codes, subject.probabilities, row_keys(len(codes)), least, thresholds)
    shares = ["-" if kept[name] is None else f"{kept[name]:.1%}" for name in ("answered", "right", "covered")]
    cells = (*shares, f"{kept['set_size']:.2f}", f"{kept['empty']:.1%}")
    return f"<tr><th scope=row>{level:.0%}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
