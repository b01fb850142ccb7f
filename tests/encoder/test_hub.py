"""The model hub, played by a server on this machine: what is asked of it, and what its answers mean."""

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from jdq.worker.encoder.errors import EncoderNotFound
from jdq.worker.encoder.folder import find_folder
from jdq.worker.encoder.identity import describe
from jdq.worker.encoder.pooling import CONFIG

COMMIT = "a" * 40


class Hub:
    """A hub with one model, whose files are those of a folder; or one that refuses every request."""

    def __init__(self, folder: Path, refusal: int | None) -> None:
        self.folder, self.refusal = folder, refusal
        self.requests: list[tuple[str, str, str | None]] = []

    def answer(self, path: str) -> tuple[bytes, dict[str, str]] | None:
        """Body and headers; None where there is nothing."""
        if path.startswith("/api/models/some/bart"):
            files = [file for file in self.folder.rglob("*.*") if file.is_file()]
            tree = [
                {"type": "file", "path": str(file.relative_to(self.folder)), "size": file.stat().st_size, "oid": "0"}
                for file in files
            ]
            info = {"id": "some/bart", "sha": COMMIT, "siblings": [{"rfilename": each["path"]} for each in tree]}
            return json.dumps(tree if "/tree/" in path else info).encode(), {"Content-Type": "application/json"}
        file = self.folder / path.rpartition("/resolve/")[2].partition("/")[2]
        if not file.is_file():
            return None
        body = file.read_bytes()
        return body, {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": COMMIT}


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """The tiny BART beside files that jdq must not take."""
    folder = shutil.copytree(tiny, tmp_path / "published")
    for name in ("pytorch_model.bin", "modeling.py", "README.md"):
        (folder / name).write_bytes(b"not for jdq")
    return folder


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Hub]:
    hub = Hub(folder, getattr(request, "param", None))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.requests.append((self.command, self.path, self.headers.get("authorization")))
            found = None if hub.refusal else hub.answer(self.path.partition("?")[0])
            self.send_response(200 if found else hub.refusal or 404)
            body, headers = found or (b"", {})
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "secret")
        yield hub
        server.shutdown()


def test_a_model_is_downloaded_once_without_pickles_and_code(hub: Hub, tiny: Path) -> None:
    assert describe("some/bart") == describe(str(tiny))
    downloaded = find_folder("some/bart")
    assert sorted(file.name for file in downloaded.iterdir()) == sorted(file.name for file in tiny.iterdir())
    assert not any(name in path for _, path, _ in hub.requests for name in ("pytorch_model", "modeling", "README"))
    before = len(hub.requests)
    assert find_folder("some/bart") == downloaded
    assert hub.requests[before:] == []


def test_a_download_includes_the_pooling_of_sentence_transformers(hub: Hub) -> None:
    file = hub.folder / CONFIG
    file.parent.mkdir()
    file.write_text('{"pooling_mode_mean_tokens": true}')
    assert describe("some/bart").pooling == "mean"


def test_the_first_request_is_small_and_carries_the_users_token(hub: Hub) -> None:
    find_folder("some/bart")
    assert hub.requests[0] == ("HEAD", "/some/bart/resolve/main/config.json", "Bearer secret")


@pytest.mark.parametrize("hub", [401, 403, 404], indirect=True)
def test_a_name_that_the_hub_does_not_have_is_told_from_a_hub_that_is_away(hub: Hub) -> None:
    with pytest.raises(EncoderNotFound) as refused:
        find_folder("some/bart")
    assert str(refused.value) == (
        f"the hub has no model some/bart, or requires a login (HTTP {hub.refusal}), and there is no such local folder\n"
        "  check the spelling, or: hf auth login"
    )
    assert len(hub.requests) == 1


@pytest.mark.parametrize("hub", [500], indirect=True)
def test_a_hub_that_is_out_of_order_is_one_that_cannot_be_reached(hub: Hub) -> None:
    with pytest.raises(EncoderNotFound) as refused:
        find_folder("some/bart")
    first, *rest = str(refused.value).splitlines()
    assert first.startswith("some/bart is not a folder, is not on this machine yet, and the hub cannot be reached: ")
    assert "500" in first
    assert rest == [
        "  on a machine with a network: hf download some/bart --local-dir DIR, copy DIR here, and pass --encoder DIR",
        "  or, to try jdq offline: jdq model tiny DIR",
    ]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(OSError("no space\nsecond line"), "no space"), (ConnectionResetError(), "ConnectionResetError")],
)
def test_a_download_that_breaks_says_why_in_a_line(
    hub: Hub, error: OSError, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(name: str, *, local_files_only: bool = False, **options: object) -> str:
        raise LocalEntryNotFoundError("not here") if local_files_only else error

    monkeypatch.setattr("huggingface_hub.snapshot_download", breaks)
    with pytest.raises(EncoderNotFound) as refused:
        find_folder("some/bart")
    assert str(refused.value).splitlines()[0] == (
        f"some/bart is not a folder, is not on this machine yet, and the hub cannot be reached: {reason}"
    )


def test_a_download_that_was_interrupted_is_continued(hub: Hub, tiny: Path) -> None:
    snapshot = find_folder("some/bart")
    (snapshot / "model.safetensors").unlink()
    assert find_folder("some/bart") == snapshot
    assert (snapshot / "model.safetensors").read_bytes() == (tiny / "model.safetensors").read_bytes()
