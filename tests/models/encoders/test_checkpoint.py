"""The hub is a real HTTP server on loopback, see `tests.models.hub_server`; its client is the real one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from models.encoders.biomedclip import BiomedClip
from models.encoders.checkpoint import Source
from models.encoders.clip import Clip
from models.encoders.medsiglip import MedSiglip
from models.encoders.published import PublishedEncoder
from models.encoders.pubmedclip import PubMedClip
from models.encoders.rad_dino import RadDino
from models.errors import InputError
from tests.models.encoders.twins import write_clip
from tests.models.hub_server import COMMIT, GOOD, serve, unused_address


def test_a_folder_is_named_by_its_content_wherever_it_lies(folders: dict[str, Path], tmp_path: Path) -> None:
    source = Clip.resolve(str(folders["clip"]))
    copy = shutil.copytree(folders["clip"], tmp_path / "copy")

    assert source.revision.startswith("sha256:")
    assert source.identity == f"clip {source.revision}"
    assert Clip.resolve(str(copy)).identity == source.identity
    assert PubMedClip.resolve(str(copy)).identity == f"pubmedclip {source.revision}"
    assert Clip.fetch(source) == folders["clip"]

    moved = Source("clip", source.model, source.revision, str(copy))
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert Clip.resolve(str(copy)).identity != source.identity
    with pytest.raises(InputError, match=f'not "{source.revision}"'):
        Clip.fetch(moved)


def test_a_hub_model_is_named_by_its_id_and_commit() -> None:
    assert Source("clip", "a/b", COMMIT, "a/b").identity == f"clip a/b@{COMMIT}"
    assert Source("clip", "a/b", COMMIT, "a/b") == Source("clip", "a/b", COMMIT, "/cache")


@pytest.mark.parametrize("pickled", [False, True])
def test_a_hub_model_is_fetched_with_safetensors_or_where_there_are_none_the_pickle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pickled: bool
) -> None:
    published = write_clip(tmp_path / "published", pickled=pickled)
    (published / "tf_model.h5").write_bytes(b"not wanted")
    if not pickled:
        (published / "pytorch_model.bin").write_bytes(b"not wanted either")
    with serve(published, "someone/clip", tmp_path / "cache", monkeypatch) as server:
        monkeypatch.setenv("HF_TOKEN", GOOD)
        source = Clip.resolve("someone/clip")
        assert (source.revision, source.path) == (COMMIT, "someone/clip")
        assert {line.split()[1] for line in server.sent} == {"config.json"}
        folder = Clip.fetch(source)
        monkeypatch.setenv("HF_ENDPOINT", unused_address())
        offline = Clip.resolve("someone/clip")
        assert Clip.fetch(offline) == Path(offline.path) == folder

    weights = "pytorch_model.bin" if pickled else "model.safetensors"
    configuration = {"config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in folder.iterdir()} == configuration | {weights}
    assert offline == source


def test_a_gated_model_needs_a_token_which_may_be_handed_over_and_comes_with_its_tokenizer(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(folders["medsiglip"], MedSiglip.model, tmp_path / "cache", monkeypatch):
        with pytest.raises(InputError, match=f"^{MedSiglip.model} is gated and no access token was given; accept its"):
            MedSiglip.resolve(revision="main")
        source = MedSiglip.resolve(revision="main", token=GOOD)
        with pytest.raises(InputError, match="is gated and no access token was given"):
            MedSiglip.fetch(source)
        assert (MedSiglip.fetch(source, GOOD) / "spiece.model").is_file()
        assert MedSiglip(source, token=GOOD).encode_texts(["pneumonia"]).shape == (1, 24)
        MedSiglip.fetch(source)  # what lies in the cache needs no token


def test_the_declared_commit_is_asked_for_unless_another_one_is(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(folders["clip"], Clip.model, tmp_path / "cache", monkeypatch):
        monkeypatch.setenv("HF_TOKEN", GOOD)
        with pytest.raises(InputError, match=f'{Clip.model} has no revision "{Clip.revision}"'):
            Clip.resolve()
        assert Clip.resolve(revision="main").revision == COMMIT


def change(folder: Path, file: str, **fields: object) -> None:
    (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | fields))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


CLASS = "is of another class than {}, which is a"


@pytest.mark.parametrize(
    ("kind", "spoil", "sentence"),
    [
        (Clip, lambda folder: (folder / "config.json").unlink(), "is no checkpoint: it has no config.json"),
        (Clip, lambda folder: change(folder, "config.json", model_type="siglip"), CLASS.format("clip")),
        (Clip, lambda folder: (folder / "preprocessor_config.json").unlink(), "lacks preprocessor_config.json or proc"),
        (Clip, lambda folder: (folder / "tokenizer.json").unlink(), "lacks tokenizer.json; supply all files"),
        (Clip, lambda folder: (folder / "model.safetensors").unlink(), "lacks model.safetensors or pytorch_model.bin"),
        (Clip, lambda folder: cut(folder / "model.safetensors"), "damaged or cut off .*; copy or download the file ag"),
        (RadDino, lambda folder: change(folder, "config.json", model_type="dinov3_vit"), CLASS.format("rad_dino")),
        (
            RadDino,
            lambda folder: (folder / "preprocessor_config.json").unlink(),
            "lacks preprocessor_config.json or",
        ),
        (MedSiglip, lambda folder: change(folder, "config.json", model_type="siglip2"), CLASS.format("medsiglip")),
        (MedSiglip, lambda folder: (folder / "spiece.model").unlink(), "lacks spiece.model; supply all files"),
        (BiomedClip, lambda folder: (folder / "open_clip_config.json").unlink(), "it has no open_clip_config.json"),
        (
            BiomedClip,
            lambda folder: change(folder, "open_clip_config.json", model_cfg={"embed_dim": 4}),
            CLASS.format("biomedclip"),
        ),
        (
            BiomedClip,
            lambda folder: change(folder, "open_clip_config.json", model_cfg=[]),
            CLASS.format("biomedclip"),
        ),
        (BiomedClip, lambda folder: (folder / "tokenizer_config.json").unlink(), "lacks tokenizer_config.json"),
        (
            BiomedClip,
            lambda folder: (folder / "open_clip_model.safetensors").unlink(),
            "or open_clip_pytorch_model.bin; supply",
        ),
    ],
)
def test_a_folder_that_is_no_whole_checkpoint_is_refused(
    folders: dict[str, Path], tmp_path: Path, kind: type[PublishedEncoder], spoil: Callable[[Path], None], sentence: str
) -> None:
    copy = shutil.copytree(folders[kind.name], tmp_path / "copy")
    spoil(copy)
    with pytest.raises(InputError, match=sentence) as refused:
        kind.resolve(str(copy))
    assert str(copy) in str(refused.value)


def test_a_checkpoint_of_another_layout_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"has no config.json"):
        PubMedClip.resolve(str(folders["biomedclip"]))
    with pytest.raises(InputError, match=r"has no open_clip_config.json"):
        BiomedClip.resolve(str(folders["clip"]))
