import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision

from models.classifier.classifiers import build_classifier
from models.classifier.networks.compact28 import compact28
from models.classifier.pretrained import imagenet_file, load_backbone
from models.errors import InputError

STOCK = {"resnet18_gray": torchvision.models.resnet18, "efficientnet_b0": torchvision.models.efficientnet_b0}
STEM = {"resnet18_gray": "conv1.weight", "efficientnet_b0": "features.0.0.weight"}


@pytest.fixture(scope="module")
def stock():
    """State dicts of torchvision's own networks, heads of a thousand classes included, statistics not the initial."""
    states = {}
    for name, build in STOCK.items():
        state = build(weights=None).state_dict()
        for tensor in state.values():
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 1)
        states[name] = state
    return states


def save(state, file):
    if file.suffix == ".safetensors":
        safetensors.torch.save_file(state, file)
    else:
        torch.save(state, file)
    return file


@pytest.mark.parametrize(
    ("architecture", "suffix"),
    [("resnet18_gray", ".pth"), ("efficientnet_b0", ".pth"), ("efficientnet_b0", ".safetensors")],
)
def test_the_weights_of_torchvision_are_taken_over(stock, architecture, suffix, tmp_path):
    file = save(stock[architecture], tmp_path / f"weights{suffix}")
    backbone = build_classifier(architecture, channels=3, pretrained=file).backbone
    loaded = backbone.state_dict()
    for name, tensor in stock[architecture].items():
        if not name.startswith(("fc.", "classifier.")) and name != "conv1.weight":
            assert torch.equal(loaded.pop(name), tensor), name
    assert set(loaded) <= {"conv1.weight"}


def test_a_grey_image_gives_what_three_equal_channels_give(stock, tmp_path):
    file = save(stock["efficientnet_b0"], tmp_path / "weights.pth")
    grey = build_classifier("efficientnet_b0", channels=1, pretrained=file).backbone.features[0][0]
    colour = build_classifier("efficientnet_b0", channels=3, pretrained=file).backbone.features[0][0]
    image = torch.randn(2, 1, 28, 28)
    torch.testing.assert_close(grey(image), colour(image.expand(-1, 3, -1, -1)))


def test_the_stem_of_resnet_is_reduced_by_area(stock, tmp_path):
    filters = stock["resnet18_gray"]["conv1.weight"]
    file = save(stock["resnet18_gray"], tmp_path / "weights.pth")
    reduced = build_classifier("resnet18_gray", channels=1, pretrained=file).backbone.conv1.weight.detach()
    # Positions of the 7×7 filter that lie wholly or partly under each third of it.
    thirds = [slice(0, 3), slice(2, 5), slice(4, 7)]
    for row, rows in enumerate(thirds):
        for column, columns in enumerate(thirds):
            expected = filters[:, :, rows, columns].sum(1).mean((1, 2)) * 49 / 9
            torch.testing.assert_close(reduced[:, 0, row, column], expected)


def test_files_without_the_batch_counts_of_later_versions_are_accepted(stock, tmp_path):
    state = {name: tensor for name, tensor in stock["efficientnet_b0"].items() if "num_batches" not in name}
    loaded = build_classifier("efficientnet_b0", pretrained=save(state, tmp_path / "old.pth"))
    assert torch.equal(loaded.backbone.features[8][1].running_var, state["features.8.1.running_var"])


@pytest.mark.parametrize(
    ("change", "misfit"),
    [
        (lambda state: state | {"stage1.conv1.weight": torch.zeros(32, 32, 5, 5)}, r"'stage1.conv1.weight'.*5, 5"),
        (lambda state: state | {"stem.0.weight": torch.zeros(9, 3, 7, 7)}, r"'stem.0.weight'.*\(32, 1, 3, 3\)"),
        (lambda state: state | {"stem.0.weight": torch.zeros(9)}, r"'stem.0.weight'.*\(32, 1, 3, 3\)"),
        (lambda state: state | {"layer5.weight": torch.zeros(1)}, "'layer5.weight'"),
        (lambda state: {name: state[name] for name in state if name != "expand.1.bias"}, "'expand.1.bias'"),
        (lambda state: {}, "'stem.0.weight'"),
        (lambda state: {"state_dict": state}, "tensors by name"),
        (lambda state: [state["expand.1.bias"]], "tensors by name"),
    ],
    ids=["shape", "stem", "stem's dimensions", "extra", "missing", "empty", "nested", "list"],
)
def test_weights_of_another_network_are_refused_by_the_first_misfit(tmp_path, change, misfit):
    backbone = compact28(channels=1).network
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    file = tmp_path / "other.pth"
    torch.save(change(before), file)
    with pytest.raises(InputError, match=misfit) as caught:
        load_backbone(backbone, file)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was executed",))


def spread_out(state):
    """A file of few bytes that stands for a tensor of many gigabytes."""
    return state | {"stem.0.weight": torch.zeros(1).expand(32, 1, 2**16, 2**16)}


@pytest.mark.parametrize(
    "content",
    [
        lambda state: spread_out(state),
        lambda state: state | {"stem.0.weight": torch.zeros(32, 1, 3, 3).to_sparse()},
        lambda state: state | {"stem.0.weight": torch.zeros(32, 1, 3, 3, device="meta")},
        lambda state: state | {"stem.0.weight": torch.zeros(32, 1, 3, 3, dtype=torch.complex64)},
        lambda state: state | {5: torch.zeros(1)},
    ],
    ids=["spread out", "sparse", "without data", "complex", "number as a name"],
)
def test_what_is_no_plain_tensor_is_refused_before_anything_is_computed_with_it(tmp_path, content):
    backbone = compact28(channels=1).network
    torch.save(content(backbone.state_dict()), tmp_path / "odd.pth")
    with pytest.raises(InputError, match="are not tensors by name"):
        load_backbone(backbone, tmp_path / "odd.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x03\x04", b"\x80\x02", b"\xff" * 100, b"h" * 10_000, b"(" * 10_000]
)
def test_files_that_hold_no_weights_are_refused_in_one_sentence(tmp_path, content, suffix):
    file = tmp_path / f"file{suffix}"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"file\.(pth|safetensors) cannot be read \(.+\); supply a \.pth or") as caught:
        load_backbone(compact28(channels=1).network, file)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_random_damage_is_refused_or_read(tmp_path, suffix):
    backbone, file = compact28(channels=1).network, tmp_path / f"file{suffix}"
    save(backbone.state_dict(), file)
    good, generator, refused = file.read_bytes(), np.random.default_rng(0), 0
    for _ in range(40):
        damaged = bytearray(good)
        ends = (0, min(len(good), 5000)) if generator.random() < 0.5 else (max(0, len(good) - 5000), len(good))
        for place in generator.integers(*ends, size=generator.integers(1, 6)):
            damaged[place] = generator.integers(256)
        file.write_bytes(damaged)
        try:
            load_backbone(backbone, file)
        except InputError:
            refused += 1
    assert refused > 10


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path):
    file = tmp_path / "bomb.pth"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(5):
            archive.writestr(f"archive/data/{number}", bytes(2**26))
    with pytest.raises(InputError, match="more than 100 times"):
        load_backbone(compact28(channels=1).network, file)


@pytest.mark.parametrize("name", ["missing.pth", "missing.safetensors", "cut.pth", "cut.safetensors", "evil.pth", "."])
def test_unreadable_files_are_refused_in_one_sentence(tmp_path, name):
    backbone = compact28(channels=1).network
    file = tmp_path / name
    if name.startswith("cut"):
        save(backbone.state_dict(), file)
        file.write_bytes(file.read_bytes()[:1000])
    elif name == "evil.pth":
        torch.save({"conv1.weight": Evil()}, file)
    with pytest.raises(InputError, match=r"cannot be read.*supply") as caught:
        load_backbone(backbone, file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("architecture", STOCK)
def test_imagenet_weights_in_the_cache_are_found(architecture, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    name = {"resnet18_gray": "resnet18-f37072fd.pth", "efficientnet_b0": "efficientnet_b0_rwightman-7f5810bc.pth"}
    file = tmp_path / "hub" / "checkpoints" / name[architecture]
    file.parent.mkdir(parents=True)
    file.touch()
    assert imagenet_file(architecture) == file


def test_without_network_the_sentence_names_the_file_and_its_place(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError) as caught:
        imagenet_file("resnet18_gray")
    place = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    assert f"fetch https://download.pytorch.org/models/{place.name} elsewhere and put it at {place}." in str(
        caught.value
    )
    assert not list(place.parent.iterdir())


def test_a_download_gets_its_name_only_with_the_right_digest(tmp_path, monkeypatch):
    published = tmp_path / "published" / "weights-0123abcd.pth"
    published.parent.mkdir()
    published.write_bytes(b"not what the name promises")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    monkeypatch.setattr(weights.value, "url", published.as_uri())
    with pytest.raises(InputError, match="hash"):
        imagenet_file("resnet18_gray")
    assert not list(Path(torch.hub.get_dir(), "checkpoints").iterdir())


def test_the_compact_network_has_no_imagenet_weights():
    with pytest.raises(InputError, match=r"'compact28', only for .*, efficientnet_lite0; choose"):
        imagenet_file("compact28")
