import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable

import medmnist
import numpy as np
import pytest

from models.errors import InputError
from tasks.data.phantoms import draw_phantoms
from tasks.data.validation import ARRAYS, dump_splits, read_splits

LABELS = {0: "normal", 1: "pneumonia"}
SIZE = 8


def small_arrays() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    counts = {"train": 6, "val": 4, "test": 5}
    arrays = {}
    for split, count in counts.items():
        arrays[f"{split}_images"] = generator.integers(0, 256, size=(count, SIZE, SIZE), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 2).astype(np.uint8)[:, None]
    return arrays


def to_npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def changed(**changes: np.ndarray) -> bytes:
    return to_npz(small_arrays() | changes)


def without(name: str) -> bytes:
    arrays = small_arrays()
    del arrays[name]
    return to_npz(arrays)


def with_member(content: bytes, member: str, value: bytes) -> bytes:
    """Write the archive again with one member replaced."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, value if name == member else old.read(name))
    return buffer.getvalue()


def repeated_member() -> bytes:
    buffer = io.BytesIO(to_npz(small_arrays()))
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("val_images.npy", b"")
    return buffer.getvalue()


def flipped_pixel() -> bytes:
    """Change one stored pixel, which only the checksum can notice."""
    content = bytearray(to_npz(small_arrays()))
    pixels = small_arrays()["test_images"].tobytes()
    content[content.index(pixels) + 10] ^= 0xFF
    return bytes(content)


def damaged_stream() -> bytes:
    """Overwrite compressed bytes in the middle of a member."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **small_arrays())
    content = bytearray(buffer.getvalue())
    with zipfile.ZipFile(buffer) as archive:
        start = archive.getinfo("train_images.npy").header_offset
    content[start + 150 : start + 220] = b"\xff" * 70
    return bytes(content)


def header(shape: str, dtype: str = "|u1") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def declared(shape: str, dtype: str = "|u1") -> bytes:
    return with_member(to_npz(small_arrays()), "train_images.npy", header(shape, dtype))


BAD: dict[str, tuple[Callable[[], bytes], list[str]]] = {
    "empty file": (lambda: b"", ["not an .npz file", "expected a zip archive"]),
    "text": (lambda: b"version https://git-lfs.github.com/spec/v1\n", ["not an .npz file", "expected a zip archive"]),
    "truncated": (lambda: to_npz(small_arrays())[:-200], ["truncated", "download it again"]),
    "stored pixel flipped": (flipped_pixel, ["test_images", "damaged", "CRC", "download the file again"]),
    "compressed stream overwritten": (damaged_stream, ["train_images", "damaged", "download the file again"]),
    "not an array": (
        lambda: with_member(to_npz(small_arrays()), "val_labels.npy", b"hello"),
        ["val_labels", "damaged", "expected an intact .npy array"],
    ),
    "array missing": (lambda: without("val_labels"), ["lacks the array val_labels", "expected exactly train_images"]),
    "array extra": (
        lambda: changed(notes=np.zeros(3)),
        ["unexpected", "notes.npy", "expected the images and labels of train, val and test"],
    ),
    "array repeated": (repeated_member, ["repeated array val_images.npy", "once each"]),
    "objects": (
        lambda: changed(train_labels=np.array([[0], [1], [0], [1], [0], ["x"]], dtype=object)),
        ["train_labels holds Python objects", "never unpickled", "expected numbers"],
    ),
    "colour": (
        lambda: changed(val_images=np.zeros((4, SIZE, SIZE, 3), np.uint8)),
        [
            "val_images holds colour images",
            "expected grey images of shape (images, 8, 8);",
            "convert",
            "--dataset.name",
        ],
    ),
    "transparency": (
        lambda: changed(val_images=np.zeros((4, SIZE, SIZE, 4), np.uint8)),
        ["val_images has the shape (4, 8, 8, 4)", "expected square grey images of shape (images, 8, 8)"],
    ),
    "channel axis": (
        lambda: changed(val_images=np.zeros((4, SIZE, SIZE, 1), np.uint8)),
        ["val_images has the shape (4, 8, 8, 1)", "expected square grey images of shape (images, 8, 8)"],
    ),
    "flat images": (
        lambda: changed(val_images=np.zeros((4, SIZE * SIZE), np.uint8)),
        ["val_images has the shape (4, 64)", "expected square grey images of shape (images, 8, 8)"],
    ),
    "not square": (
        lambda: changed(test_images=np.zeros((5, SIZE, SIZE + 1), np.uint8)),
        ["test_images has the shape (5, 8, 9)", "expected square"],
    ),
    "other size": (
        lambda: changed(test_images=np.zeros((5, 16, 16), np.uint8)),
        ["test_images holds images of 16×16 pixels", "expected 8×8", "--dataset.size"],
    ),
    "float images": (
        lambda: changed(train_images=np.zeros((6, SIZE, SIZE), np.float32)),
        ["train_images has the type float32", "expected uint8"],
    ),
    "counts differ": (
        lambda: changed(val_labels=np.array([[0], [1], [0]], np.uint8)),
        ["val_images holds 4 images but val_labels 3 labels", "expected one label per image"],
    ),
    "empty split": (
        lambda: changed(val_images=np.zeros((0, SIZE, SIZE), np.uint8), val_labels=np.zeros((0, 1), np.uint8)),
        ["val_images is empty", "expected at least one image"],
    ),
    "float labels": (
        lambda: changed(test_labels=np.array([[0.0], [1.0], [0.0], [1.0], [0.0]])),
        ["test_labels has the type float64", "expected integer labels"],
    ),
    "boolean labels": (
        lambda: changed(val_labels=np.array([[False], [True], [False], [True]])),
        ["val_labels has the type bool", "expected integer labels"],
    ),
    "one-hot labels": (
        lambda: changed(val_labels=np.eye(4, 2, dtype=np.uint8)),
        ["val_labels has the shape (4, 2)", "expected one label per image"],
    ),
    "scalar label": (
        lambda: changed(val_labels=np.array(1, dtype=np.uint8)),
        ["val_labels has the shape ()", "expected one label per image"],
    ),
    "label too high": (
        lambda: changed(train_labels=np.array([[0], [1], [0], [2], [0], [1]], np.uint8)),
        ["train_labels holds the label 2 at index 3", "expected one of 0 (normal), 1 (pneumonia)"],
    ),
    "label negative": (
        lambda: changed(train_labels=np.array([[0], [-1], [0], [1], [0], [1]], np.int8)),
        ["train_labels holds the label -1 at index 1", "expected one of 0 (normal)"],
    ),
    "label beyond int64": (
        lambda: changed(val_labels=np.array([[0], [1], [0], [2**64 - 1]], np.uint64)),
        [f"val_labels holds the label {2**64 - 1} at index 3", "expected one of 0 (normal)"],
    ),
    "train of one class": (
        lambda: changed(train_labels=np.ones((6, 1), np.uint8)),
        ["train_labels holds no case of the class 0 (normal)", "expected every split"],
    ),
    "val of one class": (
        lambda: changed(val_labels=np.zeros((4, 1), np.uint8)),
        ["val_labels holds no case of the class 1 (pneumonia)", "expected every split"],
    ),
    "test of one class": (
        lambda: changed(test_labels=np.zeros((5, 1), np.uint8)),
        ["test_labels holds no case of the class 1 (pneumonia)", "expected every split"],
    ),
    "giant shape": (
        lambda: declared(f"({10**12}, 8, 8)"),
        ["train_images declares the shape", "expected the two to agree"],
    ),
    "negative shape": (
        lambda: declared("(-6, 8, 8)"),
        ["train_images declares the shape", "expected the two to agree"],
    ),
    "strange type": (lambda: declared("(6, 8, 8)", "<M8[s]"), ["train_images has the type", "expected uint8"]),
}


def with_header(text: bytes) -> bytes:
    return with_member(
        to_npz(small_arrays()),
        "train_images.npy",
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(400),
    )


def with_strays(count: int) -> bytes:
    buffer = io.BytesIO(to_npz(small_arrays()))
    with zipfile.ZipFile(buffer, "a") as archive:
        for number in range(count):
            archive.writestr(f"stray_member_number_{number}.npy", b"")
    return buffer.getvalue()


def long_header() -> bytes:
    """A header of the second version, which may announce 4 GiB, deflated to little."""
    buffer = io.BytesIO()
    text = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**27) + b" " * 2**27
    with (
        zipfile.ZipFile(io.BytesIO(to_npz(small_arrays()))) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, text if name == "train_images.npy" else old.read(name))
    return buffer.getvalue()


_START = b"{'descr': '|u1', 'fortran_order': False, 'shape': "
BAD |= {
    "bracket left open": (lambda: with_header(_START + b"(6, 8, 8), \n"), ["train_images is damaged"]),
    "shape of thousands of digits": (
        lambda: with_header(_START + b"(%s, 8, 8), }\n" % (b"9" * 4299)),
        ["train_images is damaged", "its shape is impossible"],
    ),
    "shape of many axes": (lambda: with_header(_START + b"(%s), }\n" % (b"1, " * 3000)), ["train_images is damaged"]),
    "shape of names": (lambda: with_header(_START + b"('a', 8, 8), }\n"), ["train_images is damaged"]),
    "header of another kind": (lambda: with_header(b"{'descr': 5, 'shape': 5, }\n"), ["train_images is damaged"]),
    "deep header": (lambda: with_header(b"(" * 5000 + b"\n"), ["train_images is damaged"]),
    "long header": (long_header, ["train_images is damaged"]),
    "strays": (
        lambda: with_strays(20_000),
        ["array stray_member_number_0.npy, ", " and 19998 more: expected the images and labels of train, val and test"],
    ),
    "more strays": (lambda: with_strays(60_000), ["table of contents has", "expected the arrays train_images"]),
    "control characters": (
        lambda: with_member(to_npz(small_arrays() | {"a\x1b[31m": np.zeros(1)}), "", b""),
        [r"array a\x1b[31m.npy: expected"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_file_is_refused_in_one_sentence(case: str, tmp_path):
    make, fragments = BAD[case]
    file = tmp_path / "mine.npz"
    file.write_bytes(make())
    with pytest.raises(InputError) as caught:
        read_splits(file, labels=LABELS, size=SIZE, channels=1)
    message = str(caught.value)
    assert message.startswith(str(file))
    assert message.isprintable()
    assert len(message) <= 300
    assert message.endswith(".")
    for fragment in fragments:
        assert fragment in message


BAD_COLOUR: dict[str, tuple[tuple[int, ...], list[str]]] = {
    "grey": ((8, 8), ["holds grey images of shape (4, 8, 8)", "expected colour images", "(images, 8, 8, 3)", "repeat"]),
    "transparency": ((8, 8, 4), ["has the shape (4, 8, 8, 4)", "expected square colour images", "(images, 8, 8, 3)"]),
    "channels first": ((3, 8, 8), ["has the shape (4, 3, 8, 8)", "expected square colour images"]),
    "other size": ((16, 16, 3), ["holds images of 16×16 pixels", "expected 8×8"]),
    "volumes": ((8, 8, 8), ["has the shape (4, 8, 8, 8)", "expected square colour images"]),
}


@pytest.mark.parametrize("case", BAD_COLOUR)
def test_other_images_are_refused_for_a_colour_set(case: str):
    shape, fragments = BAD_COLOUR[case]
    arrays = small_arrays()
    for name in ARRAYS:
        if name.endswith("_images"):
            arrays[name] = np.repeat(arrays[name][..., None], 3, axis=-1)
    read_splits(to_npz(arrays), labels=LABELS, size=SIZE, channels=3)
    content = to_npz(arrays | {"val_images": np.zeros((4, *shape), np.uint8)})
    with pytest.raises(InputError) as caught:
        read_splits(content, labels=LABELS, size=SIZE, channels=3, name="mine.npz")
    message = str(caught.value)
    assert message.startswith("mine.npz: val_images ")
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message


@pytest.mark.parametrize(("name", "classes"), [("pathmnist", 9), ("retinamnist", 5)])
def test_colour_sets_of_many_classes_are_read(name: str, classes: int, medmnist_file):
    labels = {int(label): word for label, word in medmnist.INFO[name]["label"].items()}
    content = medmnist_file(classes, 3)
    splits = read_splits(content, labels=labels, size=28, channels=3)
    expected = np.load(io.BytesIO(content))
    for array in ARRAYS:
        values = getattr(splits, array)
        assert np.array_equal(values, expected[array] if array.endswith("_images") else expected[array][:, 0])
    assert splits.train_images.shape == (40, 28, 28, 3)
    assert splits.test_labels.dtype == np.int64
    assert set(splits.test_labels) == set(range(classes))
    with pytest.raises(InputError, match=rf"holds the label {classes - 1} at index {classes - 1}: expected one of 0 "):
        del labels[classes - 1]
        read_splits(content, labels=labels, size=28, channels=3)
    with pytest.raises(InputError, match=rf"no case of the class {classes} \(one more\): expected every split"):
        read_splits(content, labels=labels | {classes - 1: "last", classes: "one more"}, size=28, channels=3)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"absent\.npz cannot be read \(No such file or directory\)"):
        read_splits(tmp_path / "absent.npz", labels=LABELS, size=SIZE, channels=1)


def test_content_is_called_by_the_name_given():
    with pytest.raises(InputError, match=r"^upload\.npz is not an \.npz file"):
        read_splits(b"", labels=LABELS, size=SIZE, channels=1, name="upload.npz")


def test_compressed_bomb_is_refused_before_memory_is_allocated(monkeypatch):
    monkeypatch.setattr("tasks.data.validation.MAXIMUM_BYTES", 2**20)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **(small_arrays() | {"train_images": np.zeros((2**18, SIZE, SIZE), np.uint8)}))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"unpacks to 0\.0 GiB: expected at most"):
            read_splits(buffer.getvalue(), labels=LABELS, size=SIZE, channels=1)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_random_damage_never_raises_anything_but_an_input_error():
    content = to_npz(small_arrays())
    generator = np.random.default_rng(1)
    refused = 0
    for _ in range(1500):
        damaged = bytearray(content)
        for position in generator.integers(0, len(content), size=generator.integers(1, 6)):
            damaged[position] = generator.integers(0, 256)
        try:
            read_splits(bytes(damaged), labels=LABELS, size=SIZE, channels=1)
        except InputError:
            refused += 1
    assert refused > 1000


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, ">i4"])
def test_good_file_is_read(flat: bool, dtype: str, tmp_path):
    arrays = small_arrays()
    for name in ARRAYS:
        if name.endswith("_labels"):
            arrays[name] = arrays[name].astype(dtype).reshape(-1) if flat else arrays[name].astype(dtype)
    arrays["val_images"] = np.asfortranarray(arrays["val_images"])
    file = tmp_path / "mine.npz"
    file.write_bytes(to_npz(arrays))
    splits = read_splits(file, labels=LABELS, size=SIZE, channels=1)
    for name in ARRAYS:
        values = getattr(splits, name)
        assert np.array_equal(values, arrays[name].reshape(values.shape))
        assert values.flags.c_contiguous
        assert values.dtype == (np.uint8 if name.endswith("_images") else np.int64)
    assert splits.images("val") is splits.val_images
    assert splits.labels("test") is splits.test_labels


def test_dump_repeats_and_reads_back():
    splits = draw_phantoms(28, seed=0)
    content = dump_splits(splits)
    assert content == dump_splits(draw_phantoms(28, seed=0))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    again = read_splits(content, labels=LABELS, size=28, channels=1)
    for name in ARRAYS:
        assert np.array_equal(getattr(again, name), getattr(splits, name))


def test_official_file_passes(real_splits):
    assert real_splits.train_images.shape == (4708, 28, 28)
    assert real_splits.val_images.shape == (524, 28, 28)
    assert real_splits.test_images.shape == (624, 28, 28)
    assert real_splits.test_labels.mean() == pytest.approx(0.625)
