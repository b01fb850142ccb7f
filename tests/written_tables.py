"""Tables as users have them, written by the tests themselves: postings of the demo, reviews, messages."""

import csv
import io
import zipfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from jdq.store.table import Table

DEMO_TABLE = Path(__file__).parent.parent / "demo" / "jobs.csv"

# (text, label): Korean, whose letters take two bytes in CP949 and UTF-16, three in UTF-8.
REVIEWS = (
    ("배우들의 연기가 정말 좋았고 음악도 훌륭했습니다.", "1"),
    ("이야기가 너무 길어서 중간에 잠이 들었다", "0"),
    ("아이들과 함께 웃으면서 봤어요 ㅎㅎ", "1"),
    ("돈이 아깝다, 다시는 보고 싶지 않다...", "0"),
    ("마지막 장면에서 눈물이 났다. 10점 만점에 10점!", "1"),
    ("기대가 컸는데 실망만 남았네요", "0"),
    ("감독의 다음 작품이 기다려진다", "1"),
    ("대사가 어색하고 화면은 어둡다", "0"),
)
# (label, text): English with letters that Latin-1 and its Windows form write as one byte.
MESSAGES = (
    ("ham", "Are you coming to the café at six, or later?"),
    ("spam", "You have won £500! Reply YES within 24 hours to claim"),
    ("ham", "Running late, the train stands still between two stations"),
    ("spam", "Your voucher for 50% off ends tonight: call 0800 000 000 now"),
    ("ham", "It\u2019s in the fridge, don\u2019t forget to eat"),
    ("ham", "Happy birthday! See you on Saturday, naïve as ever"),
)


@cache
def postings() -> tuple[dict[str, str], ...]:
    """The rows of the demo's table: `title`, `text` and `label` of 410 job postings in seven classes."""
    with DEMO_TABLE.open(encoding="utf-8", newline="") as stream:
        return tuple(csv.DictReader(stream))


def delimited(rows: Iterable[Sequence[str]], *, delimiter: str = ",", newline: str = "\n") -> str:
    """The text of a delimited file, quoted where it must be."""
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter, lineterminator=newline).writerows(rows)
    return stream.getvalue()


def wide_postings(n_rows: int) -> list[list[str]]:
    """Header and rows of 18 columns, as a job board exports them: markup, line ends in cells, a class that is rare."""
    header = ["job_id", "title", "location", "department", "salary_range", "company_profile", "description"]
    header += ["requirements", "benefits", "telecommuting", "has_company_logo", "has_questions", "employment_type"]
    header += ["required_experience", "required_education", "industry", "function", "fraudulent"]
    rows = [header]
    for n, posting in enumerate(postings()[:n_rows]):
        first = posting["text"].partition(". ")[0]
        row = dict.fromkeys(header, "")
        row |= {
            "job_id": str(n + 1),
            "title": posting["title"],
            "location": "AT, 6, Graz",
            "description": posting["text"],
        }
        row |= {"company_profile": f'<p class="intro">{first}</p>\r\n\r\n"{first}"', "industry": posting["label"]}
        row |= {"function": posting["label"] if n % 3 else "", "fraudulent": str(int(n % 11 == 0))}
        rows.append([row[name] for name in header])
    return rows


def repeated(rows: Sequence[tuple[str, str]], n_rows: int) -> list[tuple[str, str]]:
    """`n_rows` of these, each with its number before it, so that none repeats."""
    numbered = [(n, rows[n % len(rows)]) for n in range(n_rows)]
    return [(f"{n} {first}", second) for n, (first, second) in numbered]


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip archive of these files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def rows_of(table: Table) -> list[tuple[str, ...]]:
    """The rows of an open table."""
    return [row for block in table.blocks() for row in zip(*(column.to_pylist() for column in block), strict=True)]
