"""From the form to an encoder. The hub is a real HTTP server on loopback, see `tests.models.hub_server`."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from huggingface_hub import constants

from models.choices import ENCODERS
from models.classifier.classifiers import build_classifier
from models.classifier.weights import dump
from models.encoders.published import PublishedEncoder
from models.errors import InputError
from models.own_encoders.classifier import ClassifierEncoder
from models.own_encoders.metric import MetricEncoder
from models.own_encoders.table import encoder_class
from tasks.execution.fingerprint import fingerprint
from tasks.parameters.retrieval import RetrievalParameters
from tasks.records.classification import ClassifierRecord
from tasks.records.retrieval import EncoderRecord
from tasks.retrieval import encoders
from tasks.shared.published_encoders import TOKEN_BLOCK
from tasks.storage.store import Store
from tests.models.encoders.twins import mark_as_random, write_clip, write_medsiglip, write_rad_dino
from tests.models.hub_server import COMMIT, GOOD, serve, unused_address

pytestmark = pytest.mark.usefixtures("outputs")

PUBLISHED = [name for name in ENCODERS if issubclass(encoder_class(name), PublishedEncoder)]
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 28, 28), dtype=np.uint8)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(autouse=True)
def _nothing_loaded():
    """Each test has a store of its own, and begins as a process does."""
    encoders._load.cache_clear()
    yield
    encoders._load.cache_clear()


@pytest.fixture
def classifier():
    card = {"architecture": "compact28", "classes": 2, "channels": 1, "image_size": 28}
    card |= {"normalization": {"mean": [0.57], "std": [0.17]}}
    payload = dump(build_classifier("compact28", seed=4).eval(), card)
    weights = Store().put(payload, "application/x-safetensors")
    return ClassifierRecord(architecture="compact28", weights=weights, best_epoch=1, dataset_sha256="0" * 64)


def locate(name, **chosen):
    (record,) = encoders.locate(RetrievalParameters(encoders=["classifier", name], **chosen))
    return record


def test_a_field_named_like_a_published_encoder_says_what_its_class_says():
    found = {name: field.default for name, field in RetrievalParameters.model_fields.items() if name in PUBLISHED}
    assert found.keys() == set(PUBLISHED)
    assert found == {name: encoder_class(name).model for name in found}


def test_a_folder_is_described_without_loading_it(clip_folder, tmp_path):
    record = locate("pubmedclip", pubmedclip=str(clip_folder), device="cuda")
    assert (record.name, record.model, record.path) == ("pubmedclip", str(clip_folder), str(clip_folder))
    assert record.identity == f"pubmedclip {record.revision}"
    assert record.revision.startswith("sha256:")
    assert record.reads_text
    assert record.device == "cuda"
    assert record.licence == ""  # of the declared model something is known, of a folder nothing
    assert record.weights == ()


def test_where_an_encoder_lies_or_computes_changes_no_cache_key_but_other_weights_do(clip_folder, tmp_path):
    record = locate("clip", clip=str(clip_folder))
    elsewhere = record.model_copy(update={"path": str(tmp_path), "device": "cuda"})
    assert elsewhere.content_digest() == record.content_digest()
    other = write_clip(tmp_path / "other", seed=1)
    assert locate("clip", clip=str(other)).content_digest() != record.content_digest()


def test_a_hub_model_is_pinned_to_its_commit(clip_folder, tmp_path, monkeypatch):
    with serve(clip_folder, "someone/clip", tmp_path / "cache", monkeypatch):
        monkeypatch.setenv("HF_TOKEN", GOOD)
        record = locate("clip", clip="someone/clip")
    assert (record.identity, record.model) == (f"clip someone/clip@{COMMIT}", "someone/clip")
    assert record.licence == ""


@pytest.mark.usefixtures("prefect_server")  # which may know a token for a gated one
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_model_that_cannot_be_had_offline_is_one_sentence(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", unused_address())
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # what the variable of that name sets in a new process
    with pytest.raises(InputError, match=f"^{encoder_class(name).model} is not in this machine's cache .* in a folder"):
        locate(name)


@pytest.mark.usefixtures("prefect_server")
def test_a_gated_model_is_had_with_the_token_that_a_block_of_prefect_holds(tmp_path, monkeypatch):
    from prefect.blocks.system import Secret

    published = write_medsiglip(tmp_path / "published")
    with serve(published, "someone/medsiglip", tmp_path / "cache", monkeypatch) as server:
        with pytest.raises(InputError, match=r"^someone/medsiglip is gated and no access token was given"):
            locate("medsiglip", medsiglip="someone/medsiglip")
        Secret(value=GOOD).save(TOKEN_BLOCK, overwrite=True)
        try:
            record = locate("medsiglip", medsiglip="someone/medsiglip")
            assert encoders.load(record).encode_images(IMAGES).shape == (4, 24)
        finally:
            Secret.delete(TOKEN_BLOCK)
        assert record.identity == f"medsiglip someone/medsiglip@{COMMIT}"
        assert GOOD not in record.model_dump_json()
        assert any("spiece.model" in line for line in server.sent)


def test_random_weights_are_known_from_the_checkpoint(tmp_path):
    assert locate("rad_dino", rad_dino=str(mark_as_random(write_rad_dino(tmp_path / "marked")))).random_weights
    assert not locate("rad_dino", rad_dino=str(write_rad_dino(tmp_path / "other"))).random_weights


def test_the_classifier_becomes_the_encoder_that_its_weights_name(classifier):
    record = encoders.describe("classifier", classifier)
    assert record.identity == f"classifier sha256:{classifier.weights.sha256}"
    assert not record.reads_text
    direct = ClassifierEncoder(Store().get(classifier.weights))
    np.testing.assert_array_equal(encoders.load(record).encode_images(IMAGES), direct.encode_images(IMAGES))


def test_the_encoder_metric_is_made_of_both_its_files(classifier):
    projection = MetricEncoder.fit(IMAGES)
    stored = Store().put(projection, "application/x-safetensors")
    record = encoders.describe("metric", classifier, stored)
    assert record.weights == (classifier.weights, stored)
    assert record.identity == MetricEncoder.identify(classifier.weights.sha256, stored.sha256)
    direct = MetricEncoder(Store().get(classifier.weights), projection)
    np.testing.assert_allclose(encoders.load(record).encode_images(IMAGES), direct.encode_images(IMAGES), atol=1e-6)


def test_a_published_encoder_is_loaded_as_it_was_located_and_only_once(clip_folder):
    record = locate("clip", clip=str(clip_folder))
    encoder = encoders.load(record)
    assert encoder.encode_images(IMAGES).shape == (4, 24)
    assert encoder.encode_texts(["pneumonia"]).shape == (1, 24)
    assert encoders.load(EncoderRecord.model_validate_json(record.model_dump_json())) is encoder


def test_threads_that_ask_at_once_get_the_one_that_was_loaded(clip_folder):
    record = locate("clip", clip=str(clip_folder))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(encoders.load, [record] * 4))
    assert all(encoder is found[0] for encoder in found)


def test_a_folder_that_is_gone_or_broken_is_one_sentence(clip_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", unused_address())
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    copy = shutil.copytree(clip_folder, tmp_path / "copy")
    record = locate("clip", clip=str(copy))
    (copy / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"lacks tokenizer\.json; supply all files of the model") as broken:
        encoders.load(record)
    shutil.rmtree(copy)
    with pytest.raises(InputError, match=r"copy is neither a folder nor an id on the Hugging Face hub") as gone:
        encoders.load(record)
    assert "\n" not in str(broken.value) + str(gone.value)


def test_the_code_of_every_encoder_counts_for_what_loads_one():
    assert {encoder_class(name).__module__ for name in ENCODERS} <= fingerprint(encoders.load).code.keys()
