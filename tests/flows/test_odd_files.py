"""Files that somebody may hand to a run: each ends it with exit code 2 and one sentence, before it computes."""

import io
import struct
import zipfile

import pytest

from flows.classification import classification
from flows.support.shell import main
from tasks.storage.store import Store

pytestmark = pytest.mark.usefixtures("prefect_server", "outputs")

_ARRAYS = [f"{split}_{kind}.npy" for split in ("train", "val", "test") for kind in ("images", "labels")]
_HEADER = b"{'descr': '|u1', 'fortran_order': False, 'shape': (6, 28, 28), }\n"


def npz(headers, strays=0):
    """An archive of arrays with any header, and of any number of empty members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, header in zip(_ARRAYS, headers, strict=True):
            content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(6 * 28 * 28)
            archive.writestr(name, content)
        for number in range(strays):
            archive.writestr(f"stray_member_number_{number}.npy", b"")
    return buffer.getvalue()


DATASETS = {
    "open_bracket": lambda: npz([_HEADER.replace(b"}", b" "), *[_HEADER] * 5]),
    "huge_shape": lambda: npz(
        [b"{'descr': '|u1', 'fortran_order': False, 'shape': (%s, 28, 28), }\n" % (b"9" * 4299)] * 6
    ),
    "truncated": lambda: npz([_HEADER] * 6)[:-100],
    "stray_members": lambda: npz([_HEADER] * 6, strays=20_000),
}


def _sentence(words, capsys):
    capsys.readouterr()
    assert main(classification, ["--preset", "debug", *words]) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert len(errors[0]) <= len("error: ") + 300
    assert errors[0].isprintable()
    assert not Store().list("checkpoints")
    return errors[0]


@pytest.mark.parametrize("name", DATASETS)
def test_a_damaged_or_hostile_dataset_is_one_sentence(tmp_path, name, capsys):
    file = tmp_path / f"{name}.npz"
    file.write_bytes(DATASETS[name]())
    assert f"{name}.npz" in _sentence(["--dataset.path", str(file)], capsys)


@pytest.mark.parametrize("content", [b"", b"hello"])
def test_a_file_of_no_weights_is_one_sentence(tmp_path, official_file, monkeypatch, content, capsys):
    monkeypatch.setenv("DATA", str(official_file.parent))
    file = tmp_path / "weights.pth"
    file.write_bytes(content)
    told = _sentence(["--training.pretrained", str(file)], capsys)
    assert "weights.pth cannot be read (" in told
    assert "supply a .pth or .safetensors file" in told
