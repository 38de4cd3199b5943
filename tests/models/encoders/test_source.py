"""The hub is a real HTTP server on loopback, see `tests.models.hub_server`; its client is the real one."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from models.encoders.catalogue import HUB_MODELS
from models.encoders.source import EncoderSource, fetch, resolve_source
from models.errors import InputError
from tests.models.hub_server import COMMIT, GOOD, serve, unused_address


def test_a_folder_is_named_by_its_content_wherever_it_lies(clip_folder: Path, tmp_path: Path) -> None:
    source = resolve_source("clip", str(clip_folder))
    copy = shutil.copytree(clip_folder, tmp_path / "copy")

    assert source.revision.startswith("sha256:")
    assert source.identity == f"clip {source.revision}"
    assert resolve_source("clip", str(copy)).identity == source.identity
    assert resolve_source("pubmedclip", str(copy)).identity == f"pubmedclip {source.revision}"
    assert fetch(source) == clip_folder

    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert resolve_source("clip", str(copy)).identity != source.identity


def test_a_hub_model_is_named_by_its_id_and_commit() -> None:
    assert EncoderSource("clip", "a/b", COMMIT, "a/b").identity == f"clip a/b@{COMMIT}"


@pytest.mark.parametrize("pickled", [False, True])
def test_a_hub_model_is_fetched_with_safetensors_or_where_there_are_none_the_pickle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pickled: bool
) -> None:
    from tests.models.encoders.twins import write_clip

    published = write_clip(tmp_path / "published", pickled=pickled)
    (published / "tf_model.h5").write_bytes(b"not wanted")
    if not pickled:
        (published / "pytorch_model.bin").write_bytes(b"not wanted either")
    with serve(published, "someone/clip", tmp_path / "cache", monkeypatch) as server:
        source = resolve_source("clip", "someone/clip", None, GOOD)
        assert (source.revision, source.path) == (COMMIT, "someone/clip")
        assert {line.split()[1] for line in server.sent} == {"config.json"}
        folder = fetch(source, GOOD)
        monkeypatch.setenv("HF_ENDPOINT", unused_address())
        offline = resolve_source("clip", "someone/clip")
        assert fetch(offline) == Path(offline.path) == folder

    weights = "pytorch_model.bin" if pickled else "model.safetensors"
    configuration = {"config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in folder.iterdir()} == configuration | {weights}
    assert offline == source


def test_the_catalogues_commit_is_asked_for_unless_another_one_is(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = HUB_MODELS["clip"]
    with serve(clip_folder, published.model, tmp_path / "cache", monkeypatch):
        with pytest.raises(InputError, match=f'{published.model} has no revision "{published.revision}"'):
            resolve_source("clip", token=GOOD)
        assert resolve_source("clip", revision="main", token=GOOD).revision == COMMIT


@pytest.mark.parametrize("name", HUB_MODELS)
def test_no_hub_and_no_cache_names_the_id_and_how_to_supply_a_folder(
    name: str, clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(clip_folder, "someone/clip", tmp_path / "cache", monkeypatch):
        monkeypatch.setenv("HF_ENDPOINT", unused_address())
        with pytest.raises(InputError, match=f"^{HUB_MODELS[name].model} is not in this .* give the folder as the mod"):
            resolve_source(name)


def change(folder: Path, file: str, **fields: object) -> None:
    (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | fields))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "config.json").unlink(), "is no checkpoint: it has no config.json"),
        (lambda folder: change(folder, "config.json", model_type="siglip"), r"another class than clip \(openai/clip"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "lacks preprocessor_config.json or processor"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "lacks tokenizer.json; supply all files"),
        (lambda folder: (folder / "model.safetensors").unlink(), "lacks model.safetensors or pytorch_model.bin"),
        (lambda folder: cut(folder / "model.safetensors"), "damaged or cut off .*; copy or download the file again"),
    ],
)
def test_a_folder_that_is_no_whole_clip_is_refused(
    clip_folder: Path, tmp_path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    copy = shutil.copytree(clip_folder, tmp_path / "copy")
    spoil(copy)
    with pytest.raises(InputError, match=sentence) as refused:
        resolve_source("clip", str(copy))
    assert str(copy) in str(refused.value)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "open_clip_config.json").unlink(), "it has no open_clip_config.json"),
        (lambda folder: change(folder, "open_clip_config.json", model_cfg={"embed_dim": 4}), "of another class than"),
        (lambda folder: change(folder, "open_clip_config.json", model_cfg=[]), "of another class than biomedclip"),
        (lambda folder: (folder / "tokenizer_config.json").unlink(), "lacks tokenizer_config.json"),
        (lambda folder: (folder / "open_clip_model.safetensors").unlink(), "or open_clip_pytorch_model.bin; supply"),
    ],
)
def test_a_folder_that_is_no_whole_biomedclip_is_refused(
    biomedclip_folder: Path, tmp_path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    copy = shutil.copytree(biomedclip_folder, tmp_path / "copy")
    spoil(copy)
    with pytest.raises(InputError, match=sentence):
        resolve_source("biomedclip", str(copy))


def test_a_checkpoint_of_another_encoder_is_refused(clip_folder: Path, biomedclip_folder: Path) -> None:
    with pytest.raises(InputError, match=r"has no config.json"):
        resolve_source("pubmedclip", str(biomedclip_folder))
    with pytest.raises(InputError, match=r"has no open_clip_config.json"):
        resolve_source("biomedclip", str(clip_folder))


def test_an_encoder_that_is_not_on_the_hub_is_refused() -> None:
    with pytest.raises(InputError, match="no encoder 'classifier'; choose one of: clip, pubmedclip, biomedclip"):
        resolve_source("classifier")  # type: ignore[arg-type]


def test_resolving_needs_no_torch() -> None:
    code = "import sys, models.encoders.source\nassert not {'torch', 'transformers', 'open_clip'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
