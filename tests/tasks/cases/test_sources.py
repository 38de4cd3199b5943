import os
import re
import time

import fsspec
import pytest

from models.errors import InputError
from tasks.cases import sources
from tasks.parameters.cases import CasesParameters


@pytest.fixture
def folder(tmp_path):
    inner = tmp_path / "Doe^Jane" / "day 1"
    inner.mkdir(parents=True)
    for name in ("b.png", "a.png", ".hidden.png", "note.txt"):
        (inner / name).write_bytes(name.encode())
    return tmp_path / "Doe^Jane"


def _names(found):
    return [sources.file_name(address) for address in found]


def test_a_folder_is_all_its_files_by_name_without_hidden_ones(folder):
    assert _names(sources.find_files([str(folder)])) == ["a.png", "b.png", "note.txt"]


def test_a_pattern_and_a_file_are_found_once(folder):
    images = [str(folder / "day 1" / "b.png"), str(folder / "*" / "*.png")]
    assert sorted(_names(sources.find_files(images))) == [".hidden.png", "a.png", "b.png"]
    assert _names(sources.find_files(images))[0] == "b.png"


def test_an_address_is_read_as_a_path_is(folder):
    with fsspec.open("memory://scans/one.png", "wb") as file:
        file.write(b"one")
    (address,) = sources.find_files(["memory://scans"])
    file = sources.identify(address)
    assert (file.name, file.size, sources.read(file)) == ("one.png", 3, b"one")
    assert sources.find_files([f"file://{folder}/day 1/a.png"])


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ("nowhere.png", r"There is no file or folder nowhere\.png"),
        ("*.none", r"\*\.none holds no file"),
        ("gs2://bucket/x", r"gs2://bucket/x cannot be looked into"),
        ("bad\0name", r"(no file or folder|cannot be looked into)"),
    ],
)
def test_what_names_nothing_is_refused_in_a_sentence(image, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=sentence):
        sources.find_files([image])


def test_no_picture_is_refused():
    with pytest.raises(InputError, match=r"No picture is named: give --cases\.images"):
        sources.find_pictures(CasesParameters())


def test_a_file_that_changes_is_not_taken_for_the_one_that_was_identified(folder):
    path = folder / "day 1" / "a.png"
    file = sources.identify(str(path))
    path.write_bytes(b"other")
    with pytest.raises(InputError, match=r"^a\.png changed while it was being read"):
        sources.read(file)


@pytest.mark.parametrize(("content", "sentence"), [(b"", "is an empty file"), (None, "cannot be read")])
def test_what_cannot_be_read_says_its_name_and_no_folder(folder, content, sentence):
    path = folder / "day 1" / "x.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^x\.png {re.escape(sentence)}") as caught:
        sources.identify(str(path))
    assert "Doe" not in str(caught.value)


def test_too_large_a_file_is_refused_before_it_is_read_whole(folder, monkeypatch):
    monkeypatch.setattr(sources, "MAXIMUM_FILE_BYTES", 3)
    with pytest.raises(InputError, match="is a file of more than"):
        sources.identify(str(folder / "day 1" / "note.txt"))


def test_a_file_that_was_just_written_is_not_settled(folder):
    path = folder / "day 1" / "a.png"
    assert not sources.is_settled(str(path))
    os.utime(path, (time.time() - 60, time.time() - 60))
    assert sources.is_settled(str(path))
