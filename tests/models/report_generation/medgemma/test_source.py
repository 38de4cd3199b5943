"""The hub is a real HTTP server on loopback that answers as huggingface.co does; its client is the real one."""

import hashlib
import json
import logging
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.errors import InputError
from models.report_generation.medgemma.source import Source, fetch, resolve_source
from tests.models.hub_server import COMMIT, GOOD, INVALID, NOT_ACCEPTED, Hub, serve, unused_address

MODEL = "someone/gated-model"


@pytest.fixture
def hub(small_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with an empty cache before it, and nobody logged in."""
    with serve(small_checkpoint, MODEL, tmp_path / "cache", monkeypatch) as server:
        yield server


@pytest.fixture
def copy(small_checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint that the test may spoil."""
    return shutil.copytree(small_checkpoint, tmp_path / "copy")


def change_json(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_folder_is_pinned_by_the_digest_of_its_files(small_checkpoint: Path, copy: Path) -> None:
    source = resolve_source(str(small_checkpoint), None, None)

    lines = ""
    for name in sorted(path.name for path in small_checkpoint.iterdir()):
        lines += f"{name} {hashlib.sha256((small_checkpoint / name).read_bytes()).hexdigest()}\n"
    assert source.revision == "sha256:" + hashlib.sha256(lines.encode()).hexdigest()
    assert (source.model, source.path) == (str(small_checkpoint), str(small_checkpoint))
    assert source.random_weights
    assert fetch(source, None) == small_checkpoint
    assert resolve_source(str(copy), None, None).revision == source.revision


def test_a_changed_weight_changes_the_revision(copy: Path) -> None:
    before = resolve_source(str(copy), None, None).revision
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)

    assert resolve_source(str(copy), None, None).revision != before
    with pytest.raises(InputError, match=f'not "{before}"; give no revision for a folder'):
        resolve_source(str(copy), before, None)


def test_a_folder_may_be_asked_for_by_its_digest(copy: Path) -> None:
    source = resolve_source(str(copy), None, None)
    assert resolve_source(str(copy), source.revision, None) == source


def test_the_mark_of_random_weights_is_read(copy: Path) -> None:
    change_json(copy / "config.json", random_weights=False)
    assert not resolve_source(str(copy), None, None).random_weights


def test_sources_of_the_same_files_are_equal_wherever_these_lie() -> None:
    there = Source("a/b", COMMIT, "a/b", False)
    assert there == Source("a/b", COMMIT, "/cache/a/b", False)
    assert there != Source("a/b", "other", "a/b", False)


def spoil_type(folder: Path) -> None:
    change_json(folder / "config.json", model_type="llama")


def spoil_vision(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["vision_config"]
    (folder / "config.json").write_text(json.dumps(config))


def spoil_quantized(folder: Path) -> None:
    change_json(folder / "config.json", quantization_config={"load_in_4bit": True})


def spoil_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def spoil_list(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def cut_weights(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def empty_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def lose_shard(folder: Path) -> None:
    shards = {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "config.json").unlink(), "is no checkpoint: it has no config.json; give the folder"),
        (spoil_type, "is of the type 'llama', not Gemma 3 with vision; choose"),
        (spoil_vision, "not Gemma 3 with vision"),
        (spoil_quantized, "is quantized already; choose the original weights"),
        (spoil_json, r"config.json cannot be read as JSON .*; copy or download"),
        (spoil_list, "config.json holds no JSON object"),
        (lambda folder: (folder / "processor_config.json").unlink(), "lacks processor_config.json; supply all files"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "lacks tokenizer.json; supply all files"),
        (lambda folder: (folder / "model.safetensors").unlink(), "lacks model.safetensors; supply all files"),
        (lose_shard, "lacks model-00002-of-00002.safetensors; supply all files"),
        (cut_weights, r"model.safetensors are damaged or cut off .*; copy or download the file again"),
        (empty_weights, "model.safetensors are damaged or cut off"),
    ],
)
def test_a_folder_that_is_no_whole_checkpoint_is_refused(
    copy: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    spoil(copy)
    with pytest.raises(InputError, match=sentence) as refused:
        resolve_source(str(copy), None, None)
    assert str(copy) in str(refused.value)


def test_damage_after_resolving_is_seen_before_loading(copy: Path) -> None:
    source = resolve_source(str(copy), None, None)
    cut_weights(copy)
    with pytest.raises(InputError, match="damaged or cut off"):
        fetch(source, None)


@pytest.mark.parametrize("model", ["/no/such/folder", "../nowhere", "a b"])
def test_a_name_of_nothing_is_refused(hub: Hub, model: str) -> None:
    with pytest.raises(InputError, match=f"{model} is neither a folder nor an id on the Hugging Face hub; give"):
        resolve_source(model, None, None)


def test_only_the_configuration_is_fetched_to_resolve_then_all_at_that_commit(hub: Hub, small_checkpoint: Path) -> None:
    source = resolve_source(MODEL, None, GOOD)

    assert source == Source(MODEL, COMMIT, MODEL, True)
    assert source.path == MODEL
    assert {line.split()[1] for line in hub.sent} == {"config.json"}

    folder = fetch(source, GOOD)

    for path in small_checkpoint.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()
    assert resolve_source(MODEL, "main", GOOD).path == str(folder)


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_a_cached_model_needs_no_network(hub: Hub, monkeypatch: pytest.MonkeyPatch, revision: str | None) -> None:
    online = resolve_source(MODEL, None, GOOD)
    folder = fetch(online, GOOD)
    monkeypatch.setenv("HF_ENDPOINT", unused_address())

    offline = resolve_source(MODEL, revision, None)

    assert offline == online
    assert fetch(offline, None) == folder


@pytest.mark.parametrize(
    ("model", "revision", "token", "sentence"),
    [
        (MODEL, None, None, f"{MODEL} is gated and no access token was given; accept its licence at https://.*{MODEL}"),
        (MODEL, None, "  ", "no access token was given"),
        (MODEL, None, NOT_ACCEPTED, f"has not accepted the licence of {MODEL}.*; accept the licence at https://"),
        (MODEL, None, INVALID, f"refuses the access token; supply .* that is valid to read {MODEL}"),
        (MODEL, "v9", GOOD, f'{MODEL} has no revision "v9"; take a commit, tag or branch from'),
        (MODEL, "f" * 40, GOOD, f'{MODEL} has no revision "{"f" * 40}"'),
        ("someone/unknown", None, GOOD, "hub has no model someone/unknown, or does not show it.*; check the id"),
        ("someone/unknown", None, None, "hub has no model someone/unknown"),
        (MODEL, None, "hf_two parts", "access token .* holds blanks or characters that no token has; copy it again"),
        (MODEL, None, "hf_tokén", "holds blanks or characters that no token has"),
    ],
)
def test_the_hubs_refusals_are_one_sentence_without_the_token(
    hub: Hub, caplog: pytest.LogCaptureFixture, model: str, revision: str | None, token: str | None, sentence: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(InputError, match=sentence) as refused:
        resolve_source(model, revision, token)
    message = str(refused.value)
    assert "\n" not in message
    assert message.endswith(".")
    if token and token.strip():
        told = "".join(traceback.format_exception(refused.value)) + caplog.text
        assert token not in told
        assert token.split()[-1] not in told


def test_a_token_may_carry_the_line_end_that_it_was_stored_with(hub: Hub) -> None:
    assert resolve_source(MODEL, None, f"{GOOD}\n").revision == COMMIT


def test_the_token_of_the_environment_is_taken(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", GOOD)
    assert resolve_source(MODEL, None, None).revision == COMMIT


def test_a_licence_that_is_withdrawn_before_the_weights_is_told_too(hub: Hub) -> None:
    source = resolve_source(MODEL, None, GOOD)
    with pytest.raises(InputError, match="has not accepted the licence"):
        fetch(source, NOT_ACCEPTED)


def test_no_network_and_no_cache_names_the_model_and_the_way_out(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", unused_address())
    with pytest.raises(InputError, match=f"{MODEL} is not in this machine's cache and .* give the folder as the model"):
        resolve_source(MODEL, None, GOOD)


def test_a_hub_that_is_down_is_told(hub: Hub) -> None:
    hub.broken = True
    with pytest.raises(InputError, match=f"{MODEL} is not in this machine's cache and the .* hub cannot be reached"):
        resolve_source(MODEL, None, GOOD)


def test_resolving_needs_no_torch() -> None:
    code = (
        "import sys, models.report_generation.medgemma.source\n"
        "assert not {'torch', 'transformers', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
