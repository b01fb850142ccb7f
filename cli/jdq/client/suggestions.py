"""Suggestions in errors of the Python API: calls instead of the commands that the CLI suggests."""

import functools
import inspect
import json
import re
import shlex
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
METHODS: dict[tuple[str, ...], str] = {
    ("submit", "extract"): "extract",
    ("submit", "train-head"): "train_head",
    ("submit", "fine-tune"): "fine_tune",
    ("submit", "auto"): "auto",
    ("submit", "predict"): "predict",
    ("submit", "find-label-errors"): "find_label_errors",
    ("submit", "find-duplicates"): "find_duplicates",
}
OF_JOBS = {("status",): "describe()", ("retry",): "retry()", ("cancel", "--force"): "cancel(force=True)"}
ARGUMENTS = {"text_column": "text", "label_column": "label", "heads": "head", "search": "trials"}
# Options for reading a file that the methods do not have, because pandas has them.
PANDAS = {"encoding": "encoding", "delimiter": "sep", "skip_lines": "skiprows", "sheet": "sheet_name"}
FLAGS = ("skip_empty", "unlabelled", "no_quotes", "no_header", "search")
OPTION = re.compile(
    r"--([a-z]+(?:-[a-z]+)*)(?:[ =](\d+|skip|cls|mean|encoder|none|high|normal|low|float32|bfloat16|[A-Z]+)\b)?"
)
# The file to which a data frame is written, and the dataset's default name.
TEXTS = "texts"
FRAME = re.compile(rf"(?:^|\S*/jdq-\w+/){TEXTS}\.parquet")

# The parameters of the methods below.
_defaults: dict[str, dict[str, Any]] = {}


def python_errors(method: Callable[P, R]) -> Callable[P, R]:
    """A method of `Client` whose errors suggest Python calls: in the message, or in a note below it."""
    parameters = inspect.signature(method).parameters.values()
    _defaults[method.__name__] = {each.name: each.default for each in parameters if each.name != "self"}

    @functools.wraps(method)
    def with_python_errors(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            return method(*arguments, **options)
        except Exception as error:
            said = str(error)
            if (meant := in_python(said)) != said:
                if error.args == (said,):
                    error.args = (meant,)
                else:
                    error.add_note(f"in Python:{meant.rpartition('try:')[2]}")
            raise

    return with_python_errors


def in_python(message: str) -> str:
    """The message with calls and arguments in place of commands and options, if there are any."""
    lines = map(_line, message.split("\n"))
    return "\n".join(FRAME.sub("data", line) for line in lines if line is not None)


def _line(line: str) -> str | None:
    """None for a command that reads a data frame's file, which is gone, and for which there is no call."""
    before, marker, command = line.partition("try: jdq ")
    if not marker:
        return OPTION.sub(_argument, line)
    if call := _call(shlex.split(command)):
        return f"{before}try: {call}"
    return None if FRAME.search(command) else line


def _argument(option: re.Match[str]) -> str:
    """An option in running text; options of other programs stay."""
    name = ARGUMENTS.get(option[1].replace("-", "_"), option[1].replace("-", "_"))
    if name not in {parameter for method in METHODS.values() for parameter in _defaults[method]} | {"trials"}:
        return option[0]
    value = option[2]
    return name if value is None else f"{name}={value if value.isupper() else _literal(value)}"


def _call(words: Sequence[str]) -> str | None:
    """The call that does what the command does; None if there is none."""
    if words[:2] == ["store", "ls"]:
        return "client.store.datasets.names()"
    if (call := OF_JOBS.get((words[0], *words[2:]))) and len(words) > 1:
        return f"client.job({_literal(words[1])}).{call}"
    if (method := METHODS.get(tuple(words[:2]))) is None:
        return None
    data, options = _parsed(words[2:])
    if method == "predict":
        options.pop("skip_empty", None)  # it keeps such rows, without a prediction
    given = {ARGUMENTS.get(name, name): value for name, value in options.items()}
    read = {PANDAS[name]: given.pop(name) for name in PANDAS if name in given}
    defaults = _defaults[method]
    if not given.keys() <= defaults.keys():
        return None
    first = [_read(data, read)] if data else []
    arguments = [f"{name}={_literal(value)}" for name, value in given.items() if value != defaults[name]]
    return f"client.{method}({', '.join([*first, *arguments])})"


def _parsed(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The arguments of a command, and its options by the names of their parameters."""
    data: list[str] = []
    options: dict[str, Any] = {}
    left = deque(words)
    while left:
        name = left.popleft()
        if not name.startswith("--"):
            data.append(name)
            continue
        name = name.removeprefix("--").replace("-", "_")
        value = True if name in FLAGS else left.popleft()
        options[name] = value if name not in options else [*_listed(options[name]), value]
    return data, options


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _read(data: Sequence[str], options: dict[str, str]) -> str:
    """The data as an argument; options for reading it become arguments of pandas."""
    named = ["data" if FRAME.fullmatch(name) else _literal(name) for name in data]
    if not options:
        return named[0] if len(named) == 1 else f"[{', '.join(named)}]"
    function = "read_excel" if "sheet_name" in options else "read_csv"
    words = [f"{name}={_literal(value)}" for name, value in options.items()]
    return f"pandas.{function}({', '.join([named[0], *words, 'dtype=str'])})"


def _literal(value: Any) -> str:
    if isinstance(value, str) and value.isdecimal():
        return value
    if isinstance(value, bool):
        return str(value)
    return json.dumps("\t" if value == "tab" else value, ensure_ascii=False)
