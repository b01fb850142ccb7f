"""Tables on the command line: what was assumed is one line, and what an error suggests works when it is typed."""

import csv
import shlex

import pytest

from tests.cli.conftest import CommandLine

MOST_STEPS = 4
# The file, what the user types after its name, and what the commands suggested until one succeeds must contain.
STATES: dict[str, tuple[str | bytes, str, str]] = {
    "no text column": ("a;b b;label\nx;a long sentence;1\nz;another;2\n", "--name n", "--text-column 'b b'"),
    "a wrong column": ("descr,label\nx,1\ny,2\n", "--text-column desc --priority low", "--text-column descr"),
    "a wrong label": ("text,kind\nx,1\ny,2\n", "--label-column kindd", "--label-column kind"),
    "text and label": ("text,label\nx,1\ny,2\n", "--text-column label --label-column label", "--label-column text"),
    "no text": ("text,label\nx,1\n ,1\ny,2\n", "--max-length 5", "--skip-empty"),
    "no label": ("text,label\nx,1\nz,\ny,2\n", "--skip-empty", "--missing-labels keep"),
    "one class": ("text,label\nx,1\ny,1\n", "", "--unlabelled"),
    "CP949": ("text,label\n영화가 정말 재미있었다,1\n별로,2\n".encode("cp949"), "--name n", "--encoding cp949"),
    "CP949 at the end": (
        b"text,label\n" + b"plain words,1\n" * 90_000 + "영화가 정말 재미있었다,2\n".encode("cp949") * 9,
        "",
        "--encoding cp949",
    ),
    "UTF-16": ("text,label\n영화,1\nx,2\n".encode("utf-16-le"), "", "--encoding utf-16-le"),
    "UTF-16, asked for": ("text,label\nx,1\ny,2\n".encode("utf-16-be"), "--encoding utf-16", "--encoding utf-16-be"),
    "no codec of texts": ("text,label\nx,1\ny,2\n", "--encoding hex", "--encoding utf-8"),
    "another such": ("text,label\nx,1\ny,2\n", "--encoding punycode", "--encoding utf-8"),
    "NUL": (b"text,label\nx\0,1\ny,2\n", "", "--nul drop"),
    "quotes": ('text,label\n"a" b,1\ny,2\n', "", "--no-quotes"),
    "an open quote": ('text,label\n"a,1\ny,2\n', "", "--no-quotes"),
    "a preamble": ("Export of 2024\n\nid,text\n1,x\n2,y\n", "", "--skip-lines 2"),
    "names below": ("Export,,\n,,\nid,review,kind\n1,x,a\n2,y,b\n", "", "--skip-lines 2"),
    "no header": ("1,I liked it a lot\n2,It was bad\n", "", "--no-header --text-column column_2"),
    "a line for Excel": ("sep=;\ntext;label\nx;1\ny;2\n", "", "--skip-lines 1 --delimiter ';'"),
    "another delimiter": ("text^a,b^label\nx^1^p\ny, z^2^q\nx^1^q\n" * 3, "", "--delimiter '^'"),
    "a bad delimiter": ("text\tlabel\nx\t1\ny\t2\n", "--delimiter '||'", "--delimiter tab"),
}


@pytest.mark.parametrize("state", STATES)
def test_what_an_error_suggests_works_and_keeps_what_was_typed(jdq: CommandLine, state: str) -> None:
    content, typed, word = STATES[state]
    file = jdq.workplace.folder / "my data.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    words = ["submit", "extract", str(file), "--encoder", "hash:16", *shlex.split(typed)]
    messages, suggested = [], ""
    for _ in range(MOST_STEPS):
        found = jdq.run_to_any_end(*words)
        if found.exit_code == 0:
            break
        message = found.stderr
        assert message not in messages, "a suggestion that was followed must not lead back"
        messages.append(message)
        [suggested] = [line.removeprefix("  try: ") for line in message.splitlines() if line.startswith("  try: ")]
        words = shlex.split(suggested)[1:]
    else:
        pytest.fail("\n".join(messages))
    assert word in suggested
    assert "--encoder hash:16" in suggested
    for option in ("--name", "--priority", "--max-length"):
        assert (option in typed) == (option in suggested)


def test_a_suggestion_of_a_prediction_keeps_its_options(jdq: CommandLine) -> None:
    jdq.extracted()
    head = jdq.trained()
    file = jdq.file("text,id\nx,1\n,2\ny,3\n", "new.csv")
    out = jdq.workplace.folder / "out.csv"
    message = jdq.run("submit", "predict", file, "--head", head, "--to", str(out), "--bom", code=2).stderr
    assert message.endswith(f"  try: jdq submit predict --head {head} --to {out} --bom {file} --skip-empty\n")
    job = jdq.submit("predict", file, "--head", head, "--skip-empty")
    jdq.workplace.worked(job)
    jdq.run("result", job, "--to", str(out))
    with out.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == ["1", "2", "3"]
    assert [bool(row["predicted_label"]) for row in rows] == [True, False, True]


def test_fine_tune_suggests_no_option_that_it_lacks(jdq: CommandLine) -> None:
    message = jdq.run("submit", "fine-tune", jdq.file("text,label\nx,1\ny,1\n"), code=2).stderr
    assert "has one class only" in message
    assert "--unlabelled" not in message


@pytest.mark.parametrize(
    ("content", "options", "line"),
    [
        (
            "description;function\n" + "".join(f"x{n};{'ab'[n % 2]}\n" for n in range(1200)) + "y;\n",
            ("--label-column", "function", "--missing-labels", "keep"),
            "UTF-8, semicolon, 1,201 rows; text column description, label column function (2 classes, 1 row without)",
        ),
        ("text\nx\n", (), "UTF-8, comma, 1 row; text column text"),
    ],
)
def test_what_was_assumed_is_one_line(jdq: CommandLine, content: str, options: tuple[str, ...], line: str) -> None:
    found = jdq.run("submit", "extract", jdq.file(content, "d.csv"), "--encoder", "hash:16", *options)
    assert found.stderr.splitlines()[0] == f"d.csv: {line}"


def test_several_files_and_text_columns(jdq: CommandLine) -> None:
    first, second = (jdq.file(f"title,body\n{name},x\n", f"{name}.csv") for name in "ab")
    jdq.submit(
        *("extract", first, second, "--encoder", "hash:16", "--name", "both"),
        *("--text-column", "title", "--text-column", "body"),
    )
    version = jdq.workplace.store.datasets.get("both")
    assert version.texts() == ["a\n\nx", "b\n\nx"]
    assert version.columns == ("title", "body", "title + body", "file")


def test_a_table_is_imported_without_a_job(jdq: CommandLine) -> None:
    offline = CommandLine(jdq.workplace, {"JDQ_BROKER_URL": "redis://localhost:1/0"})
    found = offline.run("import", jdq.file("text,label\nx,1\ny,2\n", "posts.csv"))
    version = jdq.workplace.store.datasets.get("posts")
    assert found.stdout == f"posts {version.version}\n"
    assert found.stderr == "posts.csv: UTF-8, comma, 2 rows; text column text, label column label (2 classes)\n" + (
        f"warning: {jdq.workplace.folder}/posts.csv: 2 classes of one row, which a split cannot divide: '1', '2'\n"
    )
    message = offline.run("import", jdq.file("text,label\n,1\ny,2\nz,2\n", "e.csv"), "--name", "n", code=2).stderr
    assert message.endswith("try: jdq import --name n " + str(jdq.workplace.folder / "e.csv") + " --skip-empty\n")
    assert jdq.json("jobs") == []


def test_a_submission_without_redis_imports_nothing(jdq: CommandLine) -> None:
    offline = CommandLine(jdq.workplace, {"JDQ_BROKER_URL": "redis://localhost:1/0"})
    for command in ("extract", "fine-tune"):
        offline.run("submit", command, jdq.file(), code=3)
    assert jdq.workplace.store.datasets.names() == []
