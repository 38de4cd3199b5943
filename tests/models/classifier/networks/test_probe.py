"""A probe on small checkpoints of the published encoders: its features, its heat maps, its file, its service."""

import json
import shutil
import threading

import numpy as np
import pytest
import safetensors.torch
import torch

from models.choices import PUBLISHED_ENCODERS
from models.classifier import weights
from models.classifier.classifiers import build_classifier
from models.classifier.networks.probe import FrozenFeatures
from models.classifier.prediction import predict
from models.classifier.preprocessing import Normalization
from models.classifier.serving import ServedPackage
from models.encoders import loading
from models.encoders.biomedclip import BiomedClip
from models.encoders.loading import load_published
from models.errors import InputError
from models.explanation.grad_cam import grad_cam
from models.explanation.similarity_maps import similarity_maps
from models.explanation.weight_randomisation import parts, randomise_weights
from models.own_encoders.table import encoder_class

NORMALIZATION = Normalization([0.57], [0.17])
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)


def frozen_at(name, folder, normalization=NORMALIZATION):
    source = encoder_class(name).resolve(str(folder))
    return FrozenFeatures(source, load_published(source, "cpu").dimension, normalization)


def probe_on(name, folder, *, classes=2, channels=1, seed=3):
    normalization = Normalization([0.57] * channels, [0.17] * channels)
    frozen = frozen_at(name, folder, normalization)
    return build_classifier("probe", classes=classes, channels=channels, seed=seed, frozen=frozen).eval()


def card_of(model):
    source = model.frozen.source
    return {
        "architecture": "probe", "classes": model.classes, "channels": model.channels, "temperature": 1.5,
        "normalization": {"mean": list(model.frozen.normalization.mean), "std": list(model.frozen.normalization.std)},
        "encoder": {"name": source.encoder, "model": source.model, "revision": source.revision, "licence": "",
                    "dimension": model.embedding_size, "random_weights": False},
    }  # fmt: skip


@pytest.fixture(scope="module", params=PUBLISHED_ENCODERS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name, folders):
    return probe_on(name, folders[name])


def test_features_are_the_encoders_own_vectors_and_logits_those_of_the_head(name, model, folders):
    kind = encoder_class(name)
    wanted = kind(kind.resolve(str(folders[name]))).encode_images(IMAGES)
    found = predict(model, IMAGES, NORMALIZATION, batch_size=2)
    np.testing.assert_allclose(found.embeddings, wanted, atol=1e-5)
    with torch.inference_mode():
        np.testing.assert_allclose(found.logits, model.head(torch.from_numpy(wanted))[:, 0], atol=1e-5)


def test_every_level_survives_the_normalisation():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    for mean, std in ((0.57, 0.17), (0.0, 1.0), (0.999, 0.001)):
        normalization = Normalization([mean], [std])
        assert torch.equal(normalization.undo(normalization.apply(levels.float() / 255)), levels)


def test_maps_lie_where_the_evidence_is_and_in_batches_are_those_of_single_images(name, model):
    maps = grad_cam(model, IMAGES, NORMALIZATION, target=1)
    assert maps.shape == IMAGES.shape
    assert maps.min() >= 0
    assert maps.max() <= 1
    assert np.isfinite(maps).all()
    against = grad_cam(model, IMAGES, NORMALIZATION, target=0)
    assert np.abs(maps - against).max() > 0.1
    for place in range(2):
        np.testing.assert_allclose(
            grad_cam(model, IMAGES[place : place + 1], NORMALIZATION, target=1)[0], maps[place], atol=1e-3
        )


@pytest.mark.parametrize("name", ["rad_dino", "medsiglip"], scope="function")
def test_the_gradients_behind_a_map_are_those_of_finite_differences(name, folders):
    """What HiResCAM multiplies: patches times the derivative of the logit by them, patch by patch."""
    model = probe_on(name, folders[name])
    encoder = load_published(model.frozen.source, "cpu")
    layer, before = encoder.require_patches()
    kept = []
    with layer.register_forward_hook(lambda _, inputs, output: kept.append(output.detach().clone())), torch.no_grad():
        model(NORMALIZATION.apply(torch.from_numpy(IMAGES[:1])[:, None].float() / 255))
    (tokens,) = kept
    side = int((tokens.shape[1] - before) ** 0.5)

    def logit(change):
        with layer.register_forward_hook(lambda _, inputs, output: output + change), torch.no_grad():
            return float(model(NORMALIZATION.apply(torch.from_numpy(IMAGES[:1])[:, None].float() / 255)))

    wanted = np.empty(side * side)
    for patch in range(side * side):  # along the patch's own vector: the sum over its channels at once
        change = torch.zeros_like(tokens)
        change[0, before + patch] = tokens[0, before + patch] * 1e-2
        wanted[patch] = (logit(change) - logit(-change)) / 2e-2
    scaled = np.maximum(wanted, 0).reshape(side, side)
    scaled = (scaled - scaled.min()) / (np.ptp(scaled) + 1e-7)
    found = grad_cam(model, IMAGES[:1], NORMALIZATION, target=1)[0]
    step = 28 // side
    middles = found[step // 2 :: step, step // 2 :: step][:side, :side]  # where the enlarged map is near its own
    assert np.corrcoef(middles.ravel(), scaled.ravel())[0, 1] > 0.9


def test_maps_and_predictions_of_threads_at_once_are_those_of_one_after_the_other(folders):
    model = probe_on("rad_dino", folders["rad_dino"])
    jobs = [
        lambda: grad_cam(model, IMAGES, NORMALIZATION, target=1),
        lambda: grad_cam(model, IMAGES[::-1], NORMALIZATION, target=0),
        lambda: predict(model, IMAGES, NORMALIZATION).embeddings,
    ] * 3
    alone, found = [job() for job in jobs], [None] * len(jobs)

    def run(place):
        found[place] = jobs[place]()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(alone, found, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)


def test_a_device_that_computes_in_bf16_gives_nearly_the_same(name, model, monkeypatch):
    maps, logits = grad_cam(model, IMAGES, NORMALIZATION, target=1), predict(model, IMAGES, NORMALIZATION).logits
    monkeypatch.setattr(load_published(model.frozen.source, "cpu"), "_bf16", True)  # as on a GPU that has it
    rounded = predict(model, IMAGES, NORMALIZATION).logits
    assert 0 < np.abs(rounded - logits).max() < 0.05
    nearly = grad_cam(model, IMAGES, NORMALIZATION, target=1)
    assert np.corrcoef(nearly.ravel(), maps.ravel())[0, 1] > 0.95


def test_the_file_holds_the_head_alone_and_gives_the_same_probe(name, model):
    payload = weights.dump(model, card_of(model))
    assert set(model.state_dict()) == {"head.weight", "head.bias"}
    assert len(payload) < 4000
    again, card = weights.load(payload)
    assert (again.frozen.source, again.embedding_size) == (model.frozen.source, model.embedding_size)
    np.testing.assert_array_equal(
        predict(again, IMAGES, NORMALIZATION).logits, predict(model, IMAGES, NORMALIZATION).logits
    )
    assert weights.dump(again, card) == payload


def test_a_service_answers_as_the_probe_and_not_a_number_for_what_is_no_stored_pixel(folders):
    model = probe_on("rad_dino", folders["rad_dino"], classes=3, channels=3)
    colour = np.random.default_rng(1).integers(0, 256, (20, 28, 28, 3), dtype=np.uint8)
    logits = predict(model, colour, model.frozen.normalization).logits / 1.5
    wanted = torch.from_numpy(logits).softmax(1).numpy()
    served = ServedPackage(weights.dump(model, card_of(model)))
    np.testing.assert_allclose(served.predict(colour.astype(np.float32)), wanted, atol=1e-5)
    scaled = colour.astype(np.float32)
    scaled[1] /= 255
    assert np.isnan(served.predict(scaled)).all(axis=1).tolist() == [place == 1 for place in range(20)]


def test_what_was_trained_is_the_head_so_it_alone_is_randomised(folders):
    model = probe_on("rad_dino", folders["rad_dino"])
    assert parts(model) == {"head": ["head"]}
    found = randomise_weights(
        model,
        IMAGES,
        NORMALIZATION,
        {"cam": lambda network: grad_cam(network, IMAGES, NORMALIZATION, target=1)},
        draws=2,
    )
    assert found.stages == ("head",)
    assert found.rank_correlations.max() < 0.999


def test_a_probe_needs_an_encoder_and_other_networks_take_none(folders):
    with pytest.raises(InputError, match=r"^The architecture probe was asked for without a frozen encoder"):
        build_classifier("probe")
    with pytest.raises(InputError, match=r"^The architecture compact28 was asked for with a frozen encoder"):
        build_classifier("compact28", frozen=frozen_at("rad_dino", folders["rad_dino"]))


@pytest.mark.parametrize(
    "change",
    [
        {"encoder": None},
        {"encoder": {"name": "rad_dino"}},
        {"encoder": {"name": 3, "model": "a", "revision": "b", "dimension": 24}},
        {"encoder": {"name": "rad_dino", "model": "a", "revision": "b", "dimension": 10**9}},
    ],
)
def test_a_card_that_names_no_encoder_is_one_sentence(folders, change):
    model = probe_on("rad_dino", folders["rad_dino"])
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    payload = safetensors.torch.save(tensors, {"card": json.dumps(card_of(model) | change)})
    with pytest.raises(InputError, match=r"^The weights cannot be read as a classifier of this project \("):
        weights.load(payload)


def test_an_encoder_whose_files_have_changed_or_are_gone_is_one_sentence(folders, tmp_path):
    folder = shutil.copytree(folders["rad_dino"], tmp_path / "copy")
    model = probe_on("rad_dino", folder)
    loading._kept.clear()
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"is sha256:.*, not \"sha256:"):
        predict(model, IMAGES, NORMALIZATION)


def test_an_encoder_without_patches_says_so(folders, monkeypatch):
    model = probe_on("biomedclip", folders["biomedclip"])
    monkeypatch.setattr(BiomedClip, "patch_layer", lambda encoder: None)
    with pytest.raises(
        InputError, match=r"^The encoder biomedclip in this checkpoint has no map of patches, so no heat"
    ):
        grad_cam(model, IMAGES, NORMALIZATION)


def test_cosines_of_a_probe_are_not_split_over_places(folders):
    model = probe_on("rad_dino", folders["rad_dino"])
    with pytest.raises(InputError, match=r"^The embedding of probe is not the average of its last feature map"):
        similarity_maps(model, IMAGES, IMAGES, NORMALIZATION)
