import hashlib
from pathlib import Path

import pytest

from models import hub
from models.errors import InputError
from tests.models.hub_server import COMMIT, GOOD, serve, unused_address


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files of a checkpoint, one of them in a subfolder."""
    folder = tmp_path / "checkpoint"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text('{"a": 1}')
    (folder / "notes.md").write_text("notes")
    (folder / "sub" / "config.json").write_text("{}")
    return folder


def test_only_the_files_that_are_asked_for_are_fetched_under_the_name_of_their_commit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(folder, "someone/model", tmp_path / "cache", monkeypatch) as server:
        found = hub.download("someone/model", None, GOOD, ["*.json"])
        monkeypatch.setenv("HF_ENDPOINT", unused_address())
        again = hub.download("someone/model", COMMIT, None, ["*.json"])

    assert found.name == COMMIT
    assert [path.name for path in found.iterdir()] == ["config.json"]
    assert (found / "config.json").read_text() == '{"a": 1}'
    assert {line.split()[1] for line in server.sent} == {"config.json"}
    assert again == found


def test_a_hub_out_of_reach_is_one_sentence_that_names_the_model_and_the_way_out(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(folder, "someone/model", tmp_path / "cache", monkeypatch):
        monkeypatch.setenv("HF_ENDPOINT", unused_address())
        with pytest.raises(
            InputError, match=r"^someone/model is not in this machine's cache .* give the folder as the"
        ):
            hub.download("someone/model", None, None, ["*.json"])


def test_a_folder_is_named_by_its_files_of_the_given_suffixes(folder: Path) -> None:
    content = (folder / "config.json").read_bytes()
    line = f"config.json {hashlib.sha256(content).hexdigest()}\n"
    digest = f"sha256:{hashlib.sha256(line.encode()).hexdigest()}"

    assert hub.pin_folder(str(folder), None, [".json"]) == digest
    assert hub.pin_folder(str(folder), digest, [".json"]) == digest
    assert hub.pin_folder(str(folder), None, [".json", ".md"]) != digest
    with pytest.raises(InputError, match=f'is {digest}, not "main"; give no revision for a folder'):
        hub.pin_folder(str(folder), "main", [".json"])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "is no checkpoint: it has no config.json; give the folder"),
        (b"{", "config.json cannot be read as JSON .*; copy or download"),
        (b"\xff\xfe", "config.json cannot be read as JSON"),
        (b"[]", "config.json holds no JSON object"),
    ],
)
def test_json_that_is_missing_or_damaged_is_refused(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        hub.read_json(tmp_path / "config.json")


def test_a_cut_safetensors_file_is_refused(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    path = tmp_path / "model.safetensors"
    save_file({"a": np.arange(100.0)}, path)
    hub.require_safetensors(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"model.safetensors are damaged or cut off .*; copy or download the file"):
        hub.require_safetensors(path)
