"""Pictures that are added to the index through the real command, and what searches then say of them."""

import hashlib

import numpy as np
import pytest
from PIL import Image
from prefect.client.orchestration import get_client

from flows.add import add
from flows.search import search
from flows.support.shell import main
from models.notices import RESEARCH_NOTICE
from tasks.parameters.add import AddParameters
from tasks.retrieval import encoders
from tasks.retrieval.published.publication import find_published, publish
from tasks.storage.store import Store
from tests.flows.small import run_flow
from tests.tasks.data.pictures.dicom_files import dicom
from tests.tasks.retrieval.published.small_index import small_index

pytestmark = pytest.mark.usefixtures("prefect_server", "outputs")


@pytest.fixture(autouse=True)
def published(outputs):
    encoders._load.cache_clear()
    publish(small_index(), "always", 50)
    yield
    encoders._load.cache_clear()


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, (40, 60), dtype=np.uint8)


def written(seed, path):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels(seed)).save(path)
    return str(path)


def searched(*words):
    found, steps = run_flow(search, words)
    return Store().get_json(found.result), found, steps


def test_files_are_added_once_and_found_as_such_everywhere(tmp_path, outputs, capsys):
    files = [written(1, tmp_path / "Ward 7" / "one.png"), str(tmp_path / "two.dcm")]
    dicom(255 - pixels(2), "MONOCHROME1", PatientName="Doe^Jane").save_as(files[1], enforce_file_format=True)
    assert main(add, ["--add.images", ",".join(files), "--add.label", "pneumonia"]) == 0
    assert main(add, ["--add.images", written(3, tmp_path / "three.png")]) == 0
    printed = capsys.readouterr().out
    assert "2 added, 0 were there before." in printed
    digest = hashlib.sha256(b"(40, 60)" + pixels(2).tobytes()).hexdigest()  # the same pixels, whatever the format
    assert f" {digest[:16]} " in printed

    result, found, _ = searched("--search.image", written(2, tmp_path / "two again.png"), "--search.k", "31")
    hits = {hit["name"]: hit for hit in result["hits"] if hit["split"] == "added"}
    assert result["hits"][0] == {
        "rank": 1, "split": "added", "index": 1, "label": 1, "name": "two.dcm", "digest": digest,
        "similarity": pytest.approx(1, abs=1e-6), "distance": None,
    }  # fmt: skip
    assert {name: hit["label"] for name, hit in hits.items()} == {"one.png": 1, "two.dcm": 1, "three.png": None}
    assert result["class_shares"] == pytest.approx({"normal": 12 / 30, "pneumonia": 18 / 30}, abs=0.2)
    assert sum(result["class_shares"].values()) == pytest.approx(1)
    assert result["index"]["added"] == 3
    report = Store().get(found.document).decode()
    assert "| 1 | added: two.dcm | pneumonia | 1.000 |" in report
    assert "; 1 unlabelled, not counted." in report
    assert "| added: three.png | unlabelled |" in report
    capsys.readouterr()
    assert main(search, ["--search.image", written(3, tmp_path / "q.png"), "--search.k", "1"]) == 0
    printed = capsys.readouterr().out
    for text in (
        "added: three.png",
        "unlabelled",
        "The nearest case is unlabelled.",
        ", and 3 added.",
        RESEARCH_NOTICE,
    ):
        assert text in printed
    everything = b"".join(file.read_bytes() for file in outputs.rglob("*") if file.is_file())
    assert b"Ward 7/one" not in everything  # folders and headers may name a person
    assert b"Jane" not in everything


def test_a_search_that_was_kept_is_no_hit_once_something_was_added_and_is_again_when_it_is_gone(tmp_path):
    question = ("--search.image", written(1, tmp_path / "q.png"))
    before, _, _ = searched(*question)
    assert searched(*question)[2][0].hit
    listed = add(**_form(images=[question[1]]))
    after, _, steps = searched(*question)
    assert not steps[0].hit
    assert after["hits"][0]["name"] == "q.png"
    left = add(**_form(remove=[listed.pictures[0].digest[:10]]))
    assert left.pictures == ()
    again, _, steps = searched(*question)
    assert steps[0].hit
    assert again == before


def test_without_anything_to_do_it_lists_what_there_is_on_its_page(tmp_path, capsys):
    add(**_form(images=[written(1, tmp_path / "a|b <img>.png")], label="normal"))
    capsys.readouterr()
    assert main(add, []) == 0
    assert "a|b <img>.png" in capsys.readouterr().out
    with get_client(sync_client=True) as client:
        pages = [str(artifact.data) for artifact in client.read_artifacts(limit=200)]
    listed = [page for page in pages if "# Added pictures" in page and "a\\|b &lt;img&gt;.png" in page]
    assert len(listed) == 2  # of both runs
    assert all(RESEARCH_NOTICE in page and "| normal |" in page for page in listed)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--add.images", "{good},{bad}"], "note.png is no image: an image file (PNG, "),
        (["--add.images", "{good},{bad}x"], "note.pngx: an image file (PNG, "),
        (
            ["--add.images", "{good}", "--add.label", "covid"],
            "--add.label: Input should be 'unknown', 'normal' or 'pneumonia'",
        ),
        (["--add.label", "normal"], "--add.label normal is of no picture: name some with --add.images"),
        (["--add.remove", "0123456789"], "--add.remove 0123456789 names none of the added pictures: "),
    ],
)
def test_a_mistake_is_one_sentence_and_adds_nothing(words, told, tmp_path, capsys):
    (tmp_path / "note.png").write_text("no picture")
    places = {"good": written(1, tmp_path / "good.png"), "bad": str(tmp_path / "note.png")}
    capsys.readouterr()
    assert main(add, [word.format(**places) for word in words]) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    (error,) = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert told in error
    assert find_published("classifier").added == ()


def _form(**fields):
    return {"add": AddParameters(**fields)}
