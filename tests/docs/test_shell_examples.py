"""The commands of these pages run in order, by the real client on a real stack, with small tables and encoders.

What installs, starts or copies is replaced by programs that succeed; `jdq up`, `jdq down` and tables
from other machines are left out.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest

from jdq.cli.client import Client
from jdq.store.trained import Models
from jdq.worker.encoder.tiny import make_tiny_bart
from tests.docs.generate import DOCS, PROJECT
from tests.docs.test_pages import FENCE
from tests.store.test_table_workbooks import workbook

HOW_TO = (
    "train-a-head",
    "fine-tune",
    "predict",
    "compare",
    "check-data",
    "korean",
    "offline",
    "own-head",
    "long-documents",
)
PAGES = [
    *(DOCS / "how-to" / f"{name}.md" for name in (*HOW_TO, "terminal", "cluster", "tune", "install", "troubleshoot")),
    DOCS / "how-to" / "tables.md",
    DOCS / "tutorial.md",
    PROJECT / "README.md",
]
OTHERS = ("python", "pip", ".venv/bin/pip", "hf", "git", "rsync", "make", "docker")
LEFT_OUT = re.compile(r"^jdq (?:(?:up|down)\b|submit extract (?:https|hf):).*$", re.MULTILINE)
ROWS = [
    {
        "text": f"We look for a {noun}, number {n}",
        "label": label,
        "title": f"Posting {n}",
        "summary": f"A {noun}",
        "body": f"We look for a {noun}, posting {n}. " * 3,
        "description": f"A {noun} is wanted, number {n}",
        "function": label.partition("|")[0],
        "country": "KE" if n % 3 else "KR",
        "company": f"company {n}",
        "split": ("train", "train", "train", "validation", "test")[n % 5],
    }
    for n in range(20)
    for noun, label in (("nurse", "health|night"), ("welder", "metal"), ("driver", "transport|night"))
]
ENCODERS = ("facebook/bart-base", "bart-base", "kobart", "tiny-bart")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a running local stack."""
    home = tmp_path_factory.mktemp("h")
    programs = tmp_path_factory.mktemp("programs")
    (programs / "jdq").symlink_to(Path(sys.executable).with_name("jdq"))
    for name in OTHERS:
        path = programs / Path(name).name
        path.write_text("#!/bin/sh\nexit 0\n")
        path.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JDQ_")} | {
        "JDQ_HOME": str(home),
        "JDQ_ENCODER": "hash:64",
        "JDQ_CLASSIFIERS": "sklearn.naive_bayes.GaussianNB,sklearn.ensemble.ExtraTreesClassifier",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    table = home / "table.csv"
    pd.DataFrame(ROWS).to_csv(table, index=False)
    encoder = str(make_tiny_bart(home / "tiny", dim=32, layers=1))
    for command in (
        ["up"],
        *(["submit", "extract", str(table), "--wait", "--name", name] for name in ("banking", "posts", "postings")),
        ["submit", "train-head", "postings", "--wait"],
        ["submit", "fine-tune", "postings", "--encoder", encoder, "--epochs", "1", "--wait"],
    ):
        subprocess.run([str(programs / "jdq"), *command], env=environment, check=True, capture_output=True)
    yield environment
    subprocess.run([str(programs / "jdq"), "down"], env=environment, check=True, capture_output=True)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the files that the examples name."""
    table = pd.DataFrame(ROWS)
    for name in ("data", "postings", "labelled", "reports", "posts", "official-test"):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    table.to_csv(tmp_path / "data.csv.gz", index=False)
    cells: list[Sequence[str | float | bool]] = [["text", "label"], *table[["text", "label"]].to_numpy().tolist()]
    (tmp_path / "postings.xlsx").write_bytes(workbook({"2023": [], "2024": cells}))
    (tmp_path / "exports").mkdir()
    for name in ("2023.csv", "2024.csv", "exports/may.csv", "exports/june.csv"):
        table[["text", "label"]].to_csv(tmp_path / name, index=False)
    table[["text"]].head(5).to_csv(tmp_path / "new.csv", index=False)
    (tmp_path / "texts.txt").write_text("a nurse\n\na welder\n", encoding="utf-8")
    korean = table.rename(columns={"title": "제목", "body": "내용", "function": "직무"})[["제목", "내용", "직무"]]
    korean.to_csv(tmp_path / "공고.csv", index=False, encoding="cp949")
    korean[["내용"]].to_csv(tmp_path / "새공고.csv", index=False)
    for name in ENCODERS:
        make_tiny_bart(tmp_path / name, dim=32, layers=6)
    for folder in (".venv/bin", ".config/fish/completions"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "pip").symlink_to("/bin/true")
    return tmp_path


def commands(page: Path) -> Iterator[tuple[int, str]]:
    """The shell blocks of the page, and Python blocks as a shell runs them, each with its line."""
    text = page.read_text(encoding="utf-8")
    for block in FENCE.finditer(text):
        line = text.count("\n", 0, block.start())
        if block[2] == "sh" and not block[3]:
            yield line, LEFT_OUT.sub("", block[4]).replace("$PWD/.venv/bin", "$PWD")
        elif block[2] == "python" and "open(" in block[4]:
            yield line, f"{sys.executable} - <<'END'\n{block[4]}END\n"


@pytest.mark.slow
@pytest.mark.timeout(600)  # some commands wait for jobs, on cores that other tests share
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_shell_examples_of_a_page_run_in_order(page: Path, place: Path, stack: dict[str, str]) -> None:
    stack = stack | {"JDQ_ENCODER": str(place / "tiny-bart"), "HOME": str(place)}
    client = Client(stack)
    for line, script in commands(page):
        for encoder in Models(client.store.root).ids()[:1]:
            script = script.replace("--encoder JOB", f"--encoder {encoder}")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=place, env=stack, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{page.name}, line {line}:\n{script}\n{done.stdout}\n{done.stderr}"
    for job in client.jobbook.jobs():  # those that were submitted only to be shown
        client.jobbook.cancel(job.id)
