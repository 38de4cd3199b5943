"""Published encoders on small checkpoints, beside transformers and open_clip called by hand."""

import json
import shutil
import sys
from collections.abc import Iterator

import numpy as np
import open_clip
import pytest
import safetensors.torch
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModel,
    BertConfig,
    BertModel,
    CLIPModel,
    CLIPProcessor,
    SiglipModel,
    SiglipProcessor,
)

from models.choices import PUBLISHED_ENCODERS
from models.encoders.open_clip_custom_text import bert_config
from models.errors import InputError
from models.own_encoders.table import encoder_class
from tests.models.encoders.twins import (
    BIOMEDCLIP_CONTEXT,
    CLIP_CONTEXT,
    MEDSIGLIP_CONTEXT,
    mark_as_random,
    write_biomedclip,
    write_clip,
    write_medsiglip,
    write_rad_dino,
)

TEXTS = ["a normal chest radiograph of a child", "pneumonia", "consolidation in the right lower lobe", "cat"]
DIMENSION = {"clip": 24, "biomedclip": 20, "rad_dino": 24, "medsiglip": 24}
CONTEXT = {"clip": CLIP_CONTEXT, "biomedclip": BIOMEDCLIP_CONTEXT, "medsiglip": MEDSIGLIP_CONTEXT}


def load(name, folder, device="cpu"):
    kind = encoder_class(name)
    return kind(kind.resolve(str(folder)), device=device)


@pytest.fixture(scope="module", params=DIMENSION)
def name(request):
    return request.param


@pytest.fixture
def reader(name, encoder):
    """An encoder that reads texts."""
    if not encoder.reads_text:
        pytest.skip(f"{name} reads no text")
    return encoder


@pytest.fixture(scope="module")
def encoder(name, folders):
    return load(name, folders[name])


@pytest.fixture(scope="module")
def reference(name, folders):
    """What the library itself makes of one image and of one text."""
    if name == "clip":
        model, processor = CLIPModel.from_pretrained(folders[name]).eval(), CLIPProcessor.from_pretrained(folders[name])
        return (
            lambda image: model.get_image_features(**processor(images=image, return_tensors="pt")).pooler_output[0],
            lambda text: model.get_text_features(**processor(text=[text], return_tensors="pt")).pooler_output[0],
        )
    if name == "rad_dino":  # as on its card
        processor, network = AutoImageProcessor.from_pretrained(folders[name]), AutoModel.from_pretrained(folders[name])
        return lambda image: network.eval()(**processor(images=image, return_tensors="pt")).pooler_output[0], None
    if name == "medsiglip":  # as on its card, which resizes by TensorFlow
        network, both = SiglipModel.from_pretrained(folders[name]), SiglipProcessor.from_pretrained(folders[name])
        padded = {"padding": "max_length", "return_tensors": "pt"}

        def both_sides(image, text):
            resized = Image.fromarray(tensorflow_resize(np.asarray(image), 32, 32))
            return network.eval()(**both(text=[text], images=[resized], **padded))

        return (  # of the model's own output, which is normalised, and of the towers
            lambda image: both_sides(image, "cat").vision_model_output.pooler_output[0],
            lambda text: both_sides(Image.new("RGB", (28, 28)), text).text_model_output.pooler_output[0],
        )
    config = json.loads((folders[name] / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
    text = config | {"hf_model_name": str(folders[name] / "text"), "hf_model_pretrained": False}
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folders[name]}", text_cfg=text)
    model, tokenizer = model.eval(), open_clip.get_tokenizer(f"local-dir:{folders[name]}")
    assert tokenizer(TEXTS).shape == (4, BIOMEDCLIP_CONTEXT)  # padded to its whole context
    return (
        lambda image: model.encode_image(transform(image)[None])[0],
        lambda text: model.encode_text(tokenizer([text]))[0],
    )


def tensorflow_resize(image, height, width):
    """`tf.image.resize(image, (height, width), antialias=False)` cast to uint8, pixel by pixel as its kernel does."""
    one, half = np.float32(1), np.float32(0.5)
    found = np.empty((height, width, 3), np.uint8)
    for row in range(height):
        y = (row + half) * (one * image.shape[0] / np.float32(height)) - half
        top, bottom = max(int(np.floor(y)), 0), min(int(np.ceil(y)), image.shape[0] - 1)
        for column in range(width):
            x = (column + half) * (one * image.shape[1] / np.float32(width)) - half
            left, right = max(int(np.floor(x)), 0), min(int(np.ceil(x)), image.shape[1] - 1)
            levels = image.astype(np.float32)
            upper = levels[top, left] + (levels[top, right] - levels[top, left]) * (x - np.floor(x))
            lower = levels[bottom, left] + (levels[bottom, right] - levels[bottom, left]) * (x - np.floor(x))
            found[row, column] = (upper + (lower - upper) * (y - np.floor(y))).astype(np.uint8)
    return found


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)


def apart(vectors):
    """Smallest distance of two vectors."""
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    return distances[~np.eye(len(vectors), dtype=bool)].min()


def test_images_are_embedded_as_by_the_library_one_by_one(name, encoder, reference, images):
    with torch.no_grad():
        wanted = [reference[0](Image.fromarray(image).convert("RGB")) for image in images]

    found = encoder.encode_images(images, batch_size=3)

    assert (found.dtype, found.shape) == (np.float32, (7, DIMENSION[name]))
    np.testing.assert_allclose(found, torch.stack(wanted), atol=1e-5)
    assert apart(found) > 1e-3
    assert np.ptp(np.linalg.norm(found, axis=1)) > 1e-3  # not normalised


def test_texts_are_embedded_as_by_the_library_one_by_one_so_padding_changes_nothing(name, reader, reference):
    with torch.no_grad():
        wanted = [reference[1](text) for text in TEXTS]

    found = reader.encode_texts(TEXTS)

    assert (found.dtype, found.shape) == (np.float32, (4, DIMENSION[name]))
    np.testing.assert_allclose(found, torch.stack(wanted), atol=1e-5)
    assert apart(found) > 1e-2


def test_vectors_repeat_and_do_not_depend_on_the_batch_size(encoder, images):
    vectors = encoder.encode_images(images, batch_size=7)
    np.testing.assert_array_equal(encoder.encode_images(images, batch_size=7), vectors)
    np.testing.assert_allclose(encoder.encode_images(images, batch_size=2), vectors, atol=1e-5)


def test_more_texts_than_fit_a_pass_are_embedded_one_like_the_other(reader):
    many = [TEXTS[i % 4] for i in range(130)]  # more than fit a pass
    np.testing.assert_allclose(reader.encode_texts(many), reader.encode_texts(TEXTS)[np.arange(130) % 4], atol=1e-5)


def test_grey_is_colour_of_equal_channels_and_any_size_will_do(name, encoder, images):
    colour = np.stack([images] * 3, axis=-1)
    np.testing.assert_array_equal(encoder.encode_images(colour), encoder.encode_images(images))
    wide = np.random.default_rng(1).integers(0, 256, (2, 40, 61, 3), dtype=np.uint8)
    assert encoder.encode_images(wide).shape == (2, DIMENSION[name])
    assert not np.allclose(encoder.encode_images(wide), encoder.encode_images(wide[..., ::-1]), atol=1e-3)


def test_nothing_gives_no_vectors(name, encoder):
    assert encoder.encode_images(np.empty((0, 28, 28), np.uint8)).shape == (0, DIMENSION[name])
    if encoder.reads_text:
        assert encoder.encode_texts([]).shape == (0, DIMENSION[name])


@pytest.mark.parametrize(("shape", "kind"), [((2, 28, 28), "f4"), ((28, 28), "u1"), ((2, 28, 28, 4), "u1")])
def test_other_images_are_refused(encoder, shape, kind):
    with pytest.raises(InputError, match=r"but uint8 of shape \(images, height, width\) or"):
        encoder.encode_images(np.zeros(shape, kind))


def test_an_empty_text_or_one_longer_than_the_context_is_refused_rather_than_cut(name, reader):
    with pytest.raises(InputError, match="Text 2 of 2 is empty; describe"):
        reader.encode_texts(["pneumonia", " \n"])
    word, ends = ("cat", 1) if name == "medsiglip" else ("pneumonia", 2)  # one token each
    fits, more = " ".join([word] * (CONTEXT[name] - ends)), f" {word}"
    assert reader.encode_texts([fits]).shape == (1, DIMENSION[name])
    with pytest.raises(InputError, match=f"too long for the encoder {name}, which reads {CONTEXT[name]} tokens"):
        reader.encode_texts(["cat", fits + more])


def test_an_encoder_of_images_alone_refuses_texts(folders):
    with pytest.raises(InputError, match=r"^The encoder rad_dino reads no text; text queries need one of clip, .*igl"):
        load("rad_dino", folders["rad_dino"]).encode_texts(["pneumonia"])


@pytest.mark.parametrize("shape", [(28, 28), (31, 47), (64, 96), (32, 32), (1, 2)])
def test_pixels_are_resized_to_the_bit_as_tensorflow_resizes_them(shape):
    from models.encoders.medsiglip import resize_bilinear

    images = np.random.default_rng(2).integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    wanted = np.stack([tensorflow_resize(image, 32, 40) for image in images])
    np.testing.assert_array_equal(resize_bilinear(images, 32, 40), wanted)
    np.testing.assert_array_equal(resize_bilinear(np.full_like(images, 100), 32, 40), np.full_like(wanted, 100))


def test_weights_that_were_never_trained_say_so(folders, tmp_path):
    kind = encoder_class("rad_dino")
    assert not kind.resolve(str(folders["rad_dino"])).random_weights
    assert kind.resolve(str(mark_as_random(write_rad_dino(tmp_path / "marked")))).random_weights


def test_pickled_tensors_are_read_and_nothing_else(name, encoder, images, tmp_path):
    write, weights = {
        "clip": (write_clip, "pytorch_model.bin"),
        "biomedclip": (write_biomedclip, "open_clip_pytorch_model.bin"),  # of an older transformers
        "rad_dino": (write_rad_dino, "pytorch_model.bin"),
        "medsiglip": (write_medsiglip, "pytorch_model.bin"),
    }[name]
    folder = write(tmp_path / "pickled", pickled=True)
    pickled = load(name, folder)
    np.testing.assert_array_equal(pickled.encode_images(images), encoder.encode_images(images))
    if encoder.reads_text:
        np.testing.assert_array_equal(pickled.encode_texts(TEXTS), encoder.encode_texts(TEXTS))

    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was executed",))

    for content in ({"weights": Evil()}, None):
        torch.save(content, folder / weights) if content else (folder / weights).write_bytes(b"no weights")
        with pytest.raises(
            InputError, match=rf"The checkpoint of {name} in .* cannot be read .*; copy or download its"
        ):
            load(name, folder)


@pytest.mark.parametrize(
    ("name", "file", "change", "sentence", "damaged"),
    [
        (
            *("clip", "config.json", lambda config: config | {"projection_dim": 30}),
            *(r"\(2 tensors are missing or of anot", "tokenizer.json"),
        ),
        (
            *("biomedclip", "open_clip_config.json"),
            lambda config: config | {"model_cfg": config["model_cfg"] | {"embed_dim": 30}},
            *("size mismatch", "tokenizer.json"),
        ),
        (
            *("rad_dino", "config.json", lambda config: config | {"num_hidden_layers": 3}),
            *("tensors are missing or of another", "preprocessor_config.json"),
        ),
        (
            *("medsiglip", "config.json"),
            lambda config: config | {"vision_config": config["vision_config"] | {"patch_size": 16}},
            *(r"\(2 tensors are missing or of another", "spiece.model"),
        ),
    ],
)
def test_weights_that_do_not_fit_and_a_damaged_file_are_refused(
    folders, tmp_path, name, file, change, sentence, damaged
):
    copy = shutil.copytree(folders[name], tmp_path / "copy")
    config = json.loads((copy / file).read_text())
    (copy / file).write_text(json.dumps(change(config)))
    with pytest.raises(InputError, match=f"do not fit its {file} .*{sentence}") as refused:
        load(name, copy)
    assert "\n" not in str(refused.value)
    (copy / file).write_text(json.dumps(config))
    (copy / damaged).write_text("{}" if damaged == "tokenizer.json" else "{")
    with pytest.raises(
        InputError, match=rf"The checkpoint of {name} in .* cannot be read .*; copy or download its file"
    ):
        load(name, copy)


def test_files_that_are_readable_and_contradict_each_other_are_refused_when_they_are_loaded(folders, tmp_path):
    copy = shutil.copytree(folders["clip"], tmp_path / "copy")
    (copy / "preprocessor_config.json").write_text("{}")  # then pictures of 224 pixels, for a network of 32
    with pytest.raises(InputError, match=r"of clip in .* do not belong together \(Input image size .*\); copy or"):
        load("clip", copy)
    shutil.copy(folders["clip"] / "preprocessor_config.json", copy)
    weights = safetensors.torch.load_file(copy / "model.safetensors")
    weights["visual_projection.weight"][0] = float("nan")
    safetensors.torch.save_file(weights, copy / "model.safetensors")
    with pytest.raises(InputError, match=r"of clip in .* embeds a picture or a text as what is no finite number; copy"):
        load("clip", copy)


def test_the_text_towers_shape_is_read_off_its_weights():
    published = BertConfig()  # BERT base, as BiomedBERT: 12 layers of 768 numbers, 12 heads, 30,522 tokens
    with torch.device("meta"):
        weights = BertModel(published, add_pooling_layer=False).state_dict()

    found = bert_config({f"text.transformer.{name}": tensor for name, tensor in weights.items()})

    assert found.to_dict() == published.to_dict()


_heard: list[str] | None = None


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if _heard is not None and event in ("socket.connect", "socket.getaddrinfo"):
        _heard.append(f"{event} {arguments}")


@pytest.fixture
def network() -> Iterator[list[str]]:
    """What this process asks of a network."""
    global _heard
    sys.addaudithook(_listen)  # cannot be taken away again, so it is silent after the test
    _heard = []
    yield _heard
    _heard = None


@pytest.mark.parametrize("name", PUBLISHED_ENCODERS)
def test_a_folder_is_loaded_without_a_network(name, folders, network):
    encoder = load(name, folders[name])
    assert encoder.name == name
    assert encoder.encode_images(np.zeros((1, 28, 28), np.uint8)).shape == (1, encoder.dimension)
    if encoder.reads_text:
        assert encoder.encode_texts(["pneumonia"]).shape == (1, encoder.dimension)
    assert network == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(folders):
    with pytest.raises(InputError, match="no GPU that PyTorch can use on this machine; run clip on the device cpu, or"):
        load("clip", folders["clip"], device="cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_vectors_of_a_gpu_point_where_those_of_the_cpu_do(name, encoder, folders):
    images = np.random.default_rng(0).integers(0, 256, (9, 28, 28), dtype=np.uint8)
    gpu = load(name, folders[name], device="cuda")
    pairs = [(encoder.encode_images(images), gpu.encode_images(images, batch_size=4))]
    if encoder.reads_text:
        pairs.append((encoder.encode_texts(TEXTS), gpu.encode_texts(TEXTS)))
    for one, other in pairs:
        cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
        assert cosines.min() > 0.99
