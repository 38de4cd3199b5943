"""Folders of pictures as datasets, on real files."""

import csv
import io
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from models.errors import InputError
from tasks.data.image_folder import describe_folder, list_folder, listing, read_folder
from tasks.data.subset import take_first
from tasks.data.validation import ARRAYS, SPLITS, read_splits
from tests.tasks.data.folders import by_class, few_phantoms, write_classes, write_dicom, write_folder, write_png

LABELS = {0: "normal", 1: "pneumonia"}
COUNTS = {"train": 12, "val": 6, "test": 8}
KAGGLE = {
    "NORMAL": [f"{prefix}IM-{number:04}-0001.jpeg" for prefix in ("", "NORMAL2-") for number in range(1, 31)],
    "PNEUMONIA": [
        f"person{n}_{kind}_{n * 3 + k}.jpeg" for n in range(1, 61) for k, kind in ((0, "virus"), (1, "bacteria"))
    ],
}


@pytest.fixture(scope="module")
def splits():
    return few_phantoms(COUNTS)


def listed(folder):
    return list_folder(folder, LABELS, "pneumoniamnist")


def rows(folder):
    return list(csv.DictReader(io.StringIO(listing(folder, LABELS).decode())))


@pytest.mark.parametrize("write", [write_png, write_dicom])
def test_a_folder_holds_the_very_arrays_that_were_written(write, splits, tmp_path):
    folder = listed(write_folder(splits, tmp_path, write))
    assert folder.counts() == COUNTS
    assert not folder.made
    read = read_folder(folder, 28)
    for array in ARRAYS:
        found, written = getattr(read, array), getattr(splits, array)
        assert found.dtype == written.dtype
        assert np.array_equal(found, written)


def test_real_images_come_back_bit_by_bit(official_file, tmp_path):
    whole = read_splits(official_file, labels=LABELS, size=28, channels=1)
    some = by_class(take_first(whole, 130))
    read = read_folder(listed(write_folder(some, tmp_path)), 28)
    assert all(np.array_equal(getattr(read, array), getattr(some, array)) for array in ARRAYS)


def test_it_is_in_the_order_of_torchvision(tmp_path, splits):
    from torchvision.datasets import ImageFolder

    write_folder(splits, tmp_path)
    (tmp_path / "train" / "NORMAL" / "deeper").mkdir()
    shutil.copy(next((tmp_path / "train" / "NORMAL").glob("*.png")), tmp_path / "train" / "NORMAL" / "deeper" / "9.png")
    for split in SPLITS:
        theirs = ImageFolder(str(tmp_path / split))
        ours = listed(tmp_path).of(split)
        assert [(str(image.path), image.label) for image in ours] == theirs.imgs


def test_what_is_larger_is_cropped_and_resized_as_one_that_is_searched_for(tmp_path, splits):
    from tasks.shared.model_size import to_model_size

    write_folder(splits, tmp_path)
    large = np.random.default_rng(1).integers(0, 256, (90, 130), dtype=np.uint8)
    file = sorted((tmp_path / "val" / "NORMAL").iterdir())[0]
    Image.fromarray(large).save(file)
    assert np.array_equal(read_folder(listed(tmp_path), 28).val_images[0], to_model_size(large, 28))


@pytest.mark.parametrize("words", [("Normal", "PNEUMONIA"), ("NOR-MAL", "pneu monia"), ("n_ormal", "pneumonia ")])
def test_case_spaces_and_dashes_of_a_class_do_not_count(words, tmp_path):
    write_classes({word: [f"{number}.png" for number in range(12)] for word in words}, tmp_path)
    labels = [image.label for image in listed(tmp_path).images]
    assert labels == [0] * 12 + [1] * 12


def test_classes_alone_are_divided_by_patient_and_identical_files_stay_together(tmp_path):
    write_classes(KAGGLE, tmp_path)
    shutil.copy(tmp_path / "PNEUMONIA" / "person7_virus_21.jpeg", tmp_path / "PNEUMONIA" / "person8_virus_99.jpeg")
    folder = listed(tmp_path)
    assert folder.made
    found = rows(folder)
    assert len(found) == 60 + 121
    splits_of = {}
    for row in found:
        splits_of.setdefault(row["patient"], set()).add(row["split"])
        splits_of.setdefault(row["sha256"], set()).add(row["split"])
    assert all(len(each) == 1 for each in splits_of.values())
    assert splits_of["person7"] == splits_of["person8"]
    assert {(row["split"], row["class"]) for row in found} == {
        (split, word) for split in SPLITS for word in LABELS.values()
    }
    assert [row["index"] for row in found] == [
        str(place) for split in SPLITS for place in range(folder.counts()[split])
    ]
    assert rows(listed(tmp_path)) == found  # the same each time
    audit = folder.audit()
    assert (audit.made, audit.patients, audit.unnamed, set(audit.in_two_splits.values())) == (True, 120, 0, {0})
    assert "seed 0; images of one patient, and identical files, stay together. Names tell 120 patients" in (
        describe_folder(audit)
    )


def test_a_folder_within_a_class_is_one_patient_whose_name_is_not_shown(tmp_path):
    names = {
        word: [f"Doe_Jane_{number}/{image}.png" for number in range(15) for image in (1, 2)] for word in LABELS.values()
    }
    write_classes(names, tmp_path)
    folder = listed(tmp_path)
    splits_of = {}
    for image in folder.images:
        splits_of.setdefault(image.path.parent.name, set()).add(image.split)  # of both classes
    assert all(len(each) == 1 for each in splits_of.values())
    assert {row["patient"] for row in rows(folder)} == {f"folder {number}" for number in range(1, 16)}
    assert "Doe" not in listing(folder, LABELS).decode() + repr(folder.images[0])


def test_only_public_names_are_shown(tmp_path, splits):
    write_folder(splits, tmp_path)
    shutil.move(next((tmp_path / "train" / "NORMAL").iterdir()), tmp_path / "train" / "NORMAL" / "Jane Doe 1970.png")
    shutil.move(
        next((tmp_path / "train" / "PNEUMONIA").iterdir()), tmp_path / "train" / "PNEUMONIA" / "person3_virus_1.png"
    )
    found = rows(listed(tmp_path))
    named = [row for row in found if row["file"] != row["sha256"][:12]]
    assert [(row["file"], row["patient"]) for row in named] == [("person3_virus_1.png", "person3")]
    assert "Jane" not in listing(listed(tmp_path), LABELS).decode()


def test_a_patient_in_two_given_splits_is_told_of(tmp_path, splits):
    write_folder(splits, tmp_path)
    for number, split in enumerate(("train", "test")):
        file = sorted((tmp_path / split / "PNEUMONIA").iterdir())[0]
        file.rename(file.with_name(f"person1_virus_{number}.png"))
    audit = listed(tmp_path).audit()
    assert (audit.made, audit.patients, audit.unnamed) == (False, 1, sum(COUNTS.values()) - 2)
    assert audit.in_two_splits == {"train and val": 0, "train and test": 1, "val and test": 0}
    assert "**Patients that lie in two splits: 1 in train and test; results may flatter.**" in describe_folder(audit)


def test_the_digest_is_of_names_and_contents(tmp_path, splits):
    write_folder(splits, tmp_path / "a")
    before = listed(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    os.utime(next((tmp_path / "b" / "val" / "NORMAL").iterdir()))
    (tmp_path / "b" / "val" / ".DS_Store").write_text("passed over")
    (tmp_path / "b" / "val" / "NORMAL" / "Thumbs.db").write_text("passed over")
    (tmp_path / "b" / "__MACOSX").mkdir()
    (tmp_path / "b" / "README.txt").write_text("outside the classes")
    again = listed(tmp_path / "b")
    assert (again.sha256, again.md5) == (before.sha256, before.md5)
    file = next((tmp_path / "b" / "val" / "NORMAL").glob("*.png"))
    file.rename(file.with_name("other.png"))
    renamed = listed(tmp_path / "b")
    Image.new("L", (28, 28)).save(file.with_name("other.png"))
    changed = listed(tmp_path / "b")
    assert len({before.sha256, renamed.sha256, changed.sha256}) == 3
    assert len(before.md5) == 32


def test_only_the_first_of_each_class_are_kept_and_decoded(tmp_path, splits):
    write_folder(splits, tmp_path)
    last = sorted((tmp_path / "train" / "PNEUMONIA").iterdir())[-1]
    last.write_text("never decoded")
    kept, first = read_folder(listed(tmp_path).first(6), 28), take_first(splits, 6)
    for array in ARRAYS:
        assert np.array_equal(getattr(kept, array), getattr(first, array))
    with pytest.raises(InputError, match=r"--dataset.limit 1 leaves no image of the rarest class in train"):
        listed(tmp_path).first(1)


def _empty(folder):
    for file in folder.iterdir():
        file.unlink()


WRONG = {
    "no class": (
        lambda root: shutil.rmtree(root / "train" / "NORMAL"),
        r"/train holds no image of the class normal: expected a folder with images for each of normal, pneumonia; add",
    ),
    "empty class": (lambda root: _empty(root / "val" / "PNEUMONIA"), r"/val holds no image of the class pneumonia: "),
    "wrong class": (
        lambda root: (root / "test" / "COVID").mkdir(),
        r"/test holds the folder COVID, which is no class of pneumoniamnist: expected normal, pneumonia; rename",
    ),
    "missing split": (lambda root: shutil.rmtree(root / "val"), r" lacks val: expected folders train, val and test, "),
    "beside": (lambda root: (root / "more").mkdir(), r" holds the folder more beside train, val and test: "),
    "nothing": (
        lambda root: [shutil.rmtree(root / split) for split in SPLITS],
        r" holds no image of the class normal: expected .* \(or train, val and test\)",
    ),
    "broken link": (
        lambda root: (root / "val" / "NORMAL" / "x.png").symlink_to(root / "Jane Doe.png"),
        r"/val/NORMAL: a file in it cannot be read \(No such file or directory\)",
    ),
    "pipe": (lambda root: os.mkfifo(root / "val" / "NORMAL" / "Doe"), r"/val/NORMAL: a file in it is no regular file"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_another_layout_is_one_sentence(wrong, tmp_path, splits):
    write_folder(splits, tmp_path)
    spoil, told = WRONG[wrong]
    spoil(tmp_path)
    with pytest.raises(InputError, match=told) as caught:
        listed(tmp_path)
    assert "Doe" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_too_few_patients_to_divide_is_one_sentence(tmp_path):
    ill = [f"person{number}_virus_{image}.png" for number in range(9) for image in (1, 2)]
    write_classes({"normal": [f"{number}.png" for number in range(12)], "pneumonia": ill}, tmp_path)
    with pytest.raises(InputError, match=r"holds 9 patients of the class pneumonia .* expected at least 10, to make"):
        listed(tmp_path)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Jane Doe.png", r"^{root}: train/NORMAL, image \d+ by name \(SHA-256 [0-9a-f]{{12}}…\) is no image: "),
        ("IM-0001-0001.png", r"^{root}: train/NORMAL/IM-0001-0001\.png is no image: "),
    ],
)
def test_a_file_that_is_no_image_is_found_by_who_has_the_folder(name, told, tmp_path, splits):
    write_folder(splits, tmp_path)
    (tmp_path / "train" / "NORMAL" / name).write_text("no picture")
    with pytest.raises(InputError, match=told.format(root=".{1,60}")) as caught:
        read_folder(listed(tmp_path), 28)
    assert "Doe" not in str(caught.value)
