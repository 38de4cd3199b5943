"""One's own pictures through everything: a small classifier with its index, and pictures of all kinds."""

import html
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from PIL import Image
from prefect import flow
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, PREFECT_API_URL
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from docs.tools.notebook import SCRIPT, execute, notebook
from flows.cases import cases, reference_of
from flows.inbox import inbox
from flows.retrieval import retrieval
from flows.support.shell import main, parse
from models.notices import RESEARCH_NOTICE
from models.report_generation.openai_server.exchange import image_url
from models.text import printable
from tasks.cases import archive
from tasks.cases.case import Case
from tasks.cases.steps.drift import FEWEST
from tasks.classification.trust.calibration import calibrated_probabilities
from tasks.classification.trust.conformal import p_values, prediction_sets
from tasks.execution import events
from tasks.parameters.dataset import DatasetParameters
from tasks.storage.locations import tracking_uri
from tasks.storage.store import Store
from tests.conftest import CHECKOUT
from tests.e2e.orthanc import LOGIN, orthanc
from tests.flows.small import CLASSIFICATION, RETRIEVAL, executed, run_flow
from tests.support import canary
from tests.support.openai_stand_in import MODEL, stand_in
from tests.support.pages import page_of

pytestmark = pytest.mark.usefixtures("prefect_server", "shared_outputs")
HELD = """
import sys, threading
from flows.cases import cases
from flows.support.shell import main
from tasks.storage.finished_rows import FinishedRows

write, written = FinishedRows.write, []

def write_once(*arguments):
    if written:
        threading.Event().wait()  # to be killed
    write(*arguments)
    written.append(arguments)

FinishedRows.write = write_once
main(cases, sys.argv[1:])
"""
SIZES = {"train": 160, "val": 80, "test": 64}  # no more than the preset takes, so that nothing is left out
CANARY = "CANARY"
TEXTS = ("InstitutionName", "StationName", "StudyDescription", "SeriesDescription", "ImageComments")
NOISE, PAPER = canary.name_of_file("noise", ".jpg"), canary.name_of_file("paper", ".png")
SHOWN_NOISE, SHOWN_PAPER = printable(NOISE, 80), printable(PAPER, 80)


@pytest.fixture(scope="module")
def dataset(official_file, tmp_path_factory):
    """A whole dataset of its own, so that its classifier becomes champion and its index is searched."""
    with np.load(official_file) as arrays:
        few = {
            f"{split}_{kind}": arrays[f"{split}_{kind}"][:size]
            for split, size in SIZES.items()
            for kind in ("images", "labels")
        }
    path = tmp_path_factory.mktemp("dataset") / "few.npz"
    np.savez(path, **few)
    return path


@pytest.fixture(scope="module")
def trained(prefect_server, shared_outputs, dataset):
    words = ["--dataset.path", str(dataset), "--training.epochs", "3", "--evaluation.label_folds", "0"]
    return run_flow(retrieval, [*RETRIEVAL, *words])[0]


@pytest.fixture(scope="module")
def folder(dataset, tmp_path_factory):
    """Twelve test images, one of them twice and two of them DICOM of a patient; noise, a photograph and no picture."""
    folder = tmp_path_factory.mktemp("scans") / "ward 7"
    folder.mkdir()
    images = np.load(dataset)["test_images"]
    for place in range(10):
        Image.fromarray(images[place]).save(folder / f"{place:02d}.png")
    shutil.copy(folder / "03.png", folder / "again.png")
    for place, photometric in ((10, "MONOCHROME2"), (11, "MONOCHROME1")):
        pixels = images[place] if photometric == "MONOCHROME2" else 255 - images[place]
        dicom(pixels, photometric).save_as(folder / f"{place}.dcm", enforce_file_format=True)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(folder / NOISE)
    (folder / PAPER).write_bytes(b"%PDF-1.4 nothing")
    return folder


def dicom(pixels, photometric):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.PatientName, dataset.PatientID = f"{CANARY}^ZEBRA", f"{CANARY}-4711"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.Modality = "19010203", "F", "DX"
    dataset.PatientOrientation = ["L", "F"]
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for field in TEXTS:
        setattr(dataset, field, canary.text(field.lower(), 60).replace("\\", ""))
    dataset.private_block(0x0099, canary.text("private", 10), create=True).add_new(1, "LT", canary.text("hidden", 60))
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 8, 8, 7
    dataset.PixelRepresentation, dataset.PhotometricInterpretation = 0, photometric
    dataset.PixelData = pixels.tobytes()
    return dataset


@pytest.fixture(scope="module")
def words(dataset, trained):
    return [
        "--dataset.path", str(dataset), "--cases.neighbours", "3", "--cases.pages", "20",
        "--cases.corrupted_images", "4",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def first(words, folder):
    return run_flow(cases, [*words, "--cases.images", str(folder)])


@pytest.fixture(scope="module")
def found(first):
    return {case.name: case for case in map(Case.model_validate, Store().get_json(first[0].cases))}


@pytest.fixture(scope="module")
def products(first, shared_outputs):
    return shared_outputs / "cases" / first[0].flow_run_id


def test_every_picture_is_one_case_and_bad_ones_end_nothing(found):
    assert len(found) == 14  # and `again.png` is `03.png`
    assert found[SHOWN_PAPER].problem.startswith(f"{SHOWN_PAPER} is no image")
    assert found[SHOWN_NOISE].concern == "foreign"
    assert "coloured" in found[SHOWN_NOISE].why_not_counted


def test_probabilities_are_those_of_the_evaluation(found, trained, dataset):
    """Whichever way the same pixels come."""
    _, reference, predictions = _reference(DatasetParameters(path=str(dataset)))
    logits = Store().get_arrays(predictions.outputs)["test_logits"]
    expected = calibrated_probabilities(logits, reference.temperature)
    for place in range(12):
        case = found[f"{place:02d}.png" if place < 10 else f"{place}.dcm"]
        assert case.classification.probability == pytest.approx(expected[place], abs=1e-6)
        assert case.classification.label == ("pneumonia" if expected[place] >= reference.threshold else "normal")


def test_sets_are_calibrated_on_corrupted_copies_of_validation_images(found, trained, dataset):
    data, reference, _ = _reference(DatasetParameters(path=str(dataset)))
    arrays, labels = Store().get_arrays(reference.arrays), Store().get_arrays(data.splits)["val_labels"]
    assert arrays["set_probabilities"].shape == arrays["set_labels"].shape == (4 * 13 * 5,)
    assert list(np.bincount(arrays["set_labels"])) == [130, 130]
    assert len(arrays["val_labels"]) == len(labels)
    case = found["03.png"].classification
    values = p_values(arrays["set_probabilities"], arrays["set_labels"], np.array([case.probability]))
    for level, members in case.sets.items():
        inside = prediction_sets(values, float(level))[0]
        assert members == tuple(name for name, included in zip(reference.labels, inside, strict=True) if included)


@flow
def _reference(dataset):
    return reference_of(dataset, "champion", 4)


def test_the_nearest_labelled_case_of_a_known_image_is_itself(found):
    for place in range(10):
        (similar,) = found[f"{place:02d}.png"].similar
        assert (similar.hits[0].split, similar.hits[0].index) == ("test", place)
        assert len(similar.hits) == 3 and similar.hits[0].similarity == pytest.approx(1, abs=1e-5)


def test_the_products_say_the_same(found, products, first):
    table = pd.read_csv(products / "cases.csv").set_index("name")
    parquet = pd.read_parquet(products / "cases.parquet").set_index("name")
    assert set(table.index) == set(parquet.index) == set(found)
    index = (products / "index.html").read_text()
    for name, case in found.items():
        assert html.escape(name) in index
        page = products / f"{case.short_name}.html"
        assert page.exists() == (case.problem is None)
        if case.problem is None:
            text = page.read_text()
            assert RESEARCH_NOTICE in text and html.escape(name) in text
            assert "ward 7" not in text
            assert table.loc[name, "probability"] == pytest.approx(case.classification.probability)
            bundle = json.loads((products / "fhir" / f"{case.short_name}.json").read_text())
            assert bundle["resourceType"] == "Bundle"
    assert first[0].metrics["cases/foreign"] == sum(case.foreign for case in found.values())


def test_dicom_results_go_back_to_the_study_of_the_patient(found, products, folder):
    written = sorted(path.name for path in (products / "dicom").iterdir())
    names = {found[f"{place}.dcm"].short_name: f"{place}.dcm" for place in (10, 11)}
    assert written == sorted(f"{name}-{kind}.dcm" for name in names for kind in ("capture", "report"))
    for short, name in names.items():
        source = dcmread(folder / name)
        for kind in ("capture", "report"):
            result = dcmread(products / "dicom" / f"{short}-{kind}.dcm")
            assert (result.PatientName, result.PatientID) == (source.PatientName, source.PatientID)
            assert result.StudyInstanceUID == source.StudyInstanceUID


def test_results_go_back_to_the_archive_once(words, dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("DICOMWEB_LOGIN", LOGIN)
    images = np.load(dataset)["test_images"]
    first, second = (dicom(images[place], "MONOCHROME2") for place in (30, 31))
    with orthanc(tmp_path, LOGIN) as place:
        for each in (first, second):
            buffer = io.BytesIO()
            each.save_as(buffer, enforce_file_format=True)
            archive.store(place.url, [buffer.getvalue()], login=LOGIN)
        options = [*words, "--cases.dicomweb", place.url, "--cases.study", first.StudyInstanceUID, "--cases.store_back"]
        for _ in range(2):
            result, _ = run_flow(cases, options)
            (case,) = Store().get_json(result.cases)
            assert case["name"] == first.SOPInstanceUID and case["classification"] is not None
            assert _kinds(place) == ["DX", "DX", "OT", "SR"]  # two pictures; a capture and a report of one of them


def _kinds(place):
    return sorted(place.rest(f"series/{series}")["MainDicomTags"]["Modality"] for series in place.rest("series"))


def test_nothing_but_the_dicom_results_names_the_patient(products, shared_outputs, first):
    database = Path(str(PREFECT_API_DATABASE_CONNECTION_URL.value()).partition("///")[2])
    stored = [path.read_bytes() for path in database.parent.iterdir() if path.is_file()]
    assert any(canary.MARK.encode() in content for content in stored)  # what runs say lies here
    holding = {
        path
        for place in (shared_outputs, database.parent)
        for path in place.rglob("*")
        if path.is_file() and (CANARY.encode() in path.read_bytes() or b"19010203" in path.read_bytes())
    }
    assert products / "dicom" in {path.parent for path in holding}
    assert {path.parent.relative_to(shared_outputs / "cases").parts[1:] for path in holding} == {("dicom",)}


def test_text_of_files_steers_no_terminal_and_is_no_markup_anywhere(shared_outputs, first):
    """Names of pictures are shown; of what stands in a DICOM file only that which the DICOM results have to repeat."""
    database = Path(str(PREFECT_API_DATABASE_CONNECTION_URL.value()).partition("///")[2])
    places = [shared_outputs, database.parent]
    assert {"noise", "paper"} <= canary.fields(places)
    repeated = [f"{folder}/" for folder in (shared_outputs / "cases").glob("*/dicom")]
    assert [said for said in canary.raw(places) if not said.startswith(tuple(repeated))] == []
    assert canary.obeyed_pages(places, [page_of(first[0].flow_run_id)]) == []
    beside = [place for place in places[0].iterdir() if place.name != "cases"]
    hidden = {*(field.lower() for field in TEXTS), "private", "hidden"}
    assert not hidden & canary.fields([*beside, *places[1:]])  # the database is that of other files' runs too


def test_mlflow_and_prefect_show_it(first, found):
    client = MlflowClient(tracking_uri())
    run = client.get_run(first[0].run.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["cases/count"] == 14
    assert run.data.params["cases.images"] == "['15 named']"
    assert {"index.html", "cases.csv", "cases.parquet", "table.json", "fhir"} <= {
        file.path for file in client.list_artifacts(run.info.run_id)
    }
    traces = client.search_traces(
        [run.info.experiment_id], filter_string=f"metadata.`mlflow.sourceRun` = '{run.info.run_id}'", max_results=100
    )
    assert len(traces) == sum(case.counts for case in found.values())
    page = page_of(first[0].flow_run_id)
    assert "| Pictures | 14 |" in page and "95 % interval" not in page
    assert page.index("data:image/png") < page.index("## Results in short") < page.index("## Pictures")


def test_a_folder_that_grew_computes_only_what_is_new(words, folder, dataset, first, tmp_path, shared_outputs):
    grown = tmp_path / "grown"
    shutil.copytree(folder, grown)
    Image.fromarray(np.load(dataset)["test_images"][20]).save(grown / "new.png")
    before = _judged(shared_outputs)
    result, steps = run_flow(cases, [*words, "--cases.images", str(grown / "*.*")])
    judged = [step for step in steps if step.step == "judge-pictures" and not step.hit]
    assert len(judged) == 1
    rows = _judged(shared_outputs)
    assert len(rows) == len(set(rows)) == len(before) + 1
    assert result.metrics["cases/count"] == 15
    assert "prepare-reference" not in executed(steps)


def test_an_inbox_handles_each_picture_once(words, dataset, tmp_path, monkeypatch):
    place = tmp_path / "inbox"
    place.mkdir()
    images = np.load(dataset)["test_images"]
    options = [*words, "--cases.images", str(place)]
    assert run_flow(inbox, options)[0] is None
    _put(images[21], place / "a.png")
    once, _ = run_flow(inbox, options)
    assert once.metrics["cases/count"] == 1
    assert run_flow(inbox, options)[0] is None
    _put(images[22], place / "b.png")
    (place / "half.png").write_bytes(b"half of it")  # still being written
    again, _ = run_flow(inbox, options)
    (case,) = Store().get_json(again.cases)
    assert case["name"] == "b.png"
    monkeypatch.setattr("flows.inbox._MOST", 1)
    for number in (23, 24):
        _put(images[number], place / f"{number}.png")
    names = [Store().get_json(run_flow(inbox, options)[0].cases)[0]["name"] for _ in range(2)]
    assert sorted(names) == ["23.png", "24.png"]


def test_pictures_that_look_otherwise_are_told_of(words, dataset, tmp_path, monkeypatch):
    """Paler ones do, though the screening looks at no brightness."""
    told = []
    monkeypatch.setattr(events, "emit_event", lambda event, resource, payload: told.append((event, payload)))
    place = tmp_path / "many"
    place.mkdir()
    for number, image in enumerate(np.load(dataset)["test_images"]):
        _put(image // 2 + 100, place / f"{number:02d}.png")
    found, steps = run_flow(inbox, [*words, "--cases.images", str(place), "--cases.pages", "0"])
    assert found.metrics["cases/counted"] >= FEWEST
    assert "measure-drift-of-cases" in executed(steps)
    by_event = dict(told)
    assert (events.FOREIGN_FOUND in by_event) == bool(found.metrics["cases/foreign"])
    drift = by_event[events.DRIFT_FOUND]
    for label in drift["classes"].split(", "):
        assert drift[f"drift/new_domain_auc_{label}"] > drift[f"drift/new_threshold_{label}"] > 0.5
    assert drift["drift/new_images"] == found.metrics["cases/counted"]


@pytest.mark.e2e
def test_a_run_that_is_killed_goes_on_and_judges_nothing_twice(words, dataset, tmp_path, shared_outputs, official_file):
    images = np.load(dataset)["train_images"][:48]
    for number, image in enumerate(images):
        _put(image, tmp_path / "scans" / f"{number:02d}.png")
    options = [*words, "--cases.images", str(tmp_path / "scans"), "--cases.batch_size", "8", "--cases.pages", "3"]
    before = set(_judged(shared_outputs))
    killed = subprocess.Popen(
        [sys.executable, "-c", HELD, *options],  # the run, which stops where it would keep its second batch
        cwd=CHECKOUT,
        env=os.environ | {"OUTPUTS": str(shared_outputs), "DATA": str(official_file.parent)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not set(_judged(shared_outputs)) - before and killed.poll() is None:
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    kept = set(_judged(shared_outputs)) - before
    assert 0 < len(kept) < 48
    result, steps = run_flow(cases, options)
    assert result.metrics["cases/count"] == 48
    rows = _judged(shared_outputs)
    assert len(rows) == len(set(rows)) and len(set(rows) - before) == 48
    assert {"judge-pictures", "show-index"} <= executed(steps)
    client = MlflowClient(tracking_uri())
    runs = client.search_runs([client.get_experiment_by_name("pneumonia/cases").experiment_id], max_results=1000)
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED", "FAILED"}
    assert [run.info.status for run in runs].count("KILLED") == 1


def test_two_inboxes_at_once_handle_each_picture_once(words, dataset, tmp_path, shared_outputs):
    for number, image in enumerate(np.load(dataset)["val_images"][:20]):
        _put(image, tmp_path / "inbox" / f"{number:02d}.png")
    options = [*words, "--cases.images", str(tmp_path / "inbox"), "--cases.pages", "0"]
    with ThreadPoolExecutor(2) as threads:
        found = [each.result() for each in [threads.submit(inbox, **parse(inbox, options)) for _ in range(2)]]
    assert sorted(result.metrics["cases/count"] if result else 0 for result in found) == [0, 20]
    rows = _judged(shared_outputs)
    assert len(rows) == len(set(rows))


def _judged(folder):
    """The digest of every picture that was judged, as often as it was."""
    return [
        case["digest"]
        for shard in (folder / "store" / "cases").glob("*/shards/*.json")
        for case in json.loads(shard.read_text())
    ]


def _put(image, path):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(image).save(path)
    os.utime(path, (0, 0))  # not being written any more


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "No picture is named"),
        (["--cases.images", "nowhere/*.png"], "nowhere/*.png holds no file"),
        (["--cases.images", __file__, "--cases.classifier", "0" * 32], "There is no MLflow run"),
        (["--cases.images", __file__, "--cases.encoders", "clip"], "There is no index of the encoder clip"),
        (["--cases.images", __file__, "--dataset.limit", "64"], None),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(words, options, sentence, capsys):
    code = main(cases, [*words, *options])
    said = capsys.readouterr().err
    assert code == (2 if sentence else 0), said
    assert sentence is None or sentence in said


def test_a_model_on_a_server_writes_reports_on_own_pictures(words, folder, shared_outputs):
    with stand_in(pages={"/version": {"version": "0.11.0"}}) as server:
        options = ["--reports.generator", "openai", "--reports.server", server.url, "--reports.model", MODEL]
        pictures = ["--cases.images", str(folder / "03.png"), "--reports.strategies", "concise,structured"]
        result, _ = run_flow(cases, [*words, *pictures, *options])
    assert result.metrics["cases/reports"] == 2
    assert result.metrics["cases/reports_parsed"] == 1
    (case,) = map(Case.model_validate, Store().get_json(result.cases))
    page = (shared_outputs / "cases" / result.flow_run_id / f"{case.short_name}.html").read_text()
    assert f"language model {MODEL}, on {server.url} (vLLM 0.11.0)" in page
    assert len(server.answered) == 4  # two reports, the question, and one trial
    parts = [{part["type"]: part for part in body["messages"][-1]["content"]} for body in server.asked[1:]]
    shown = [part["image_url"]["image_url"]["url"] for part in parts]
    assert len(set(shown)) == 1 and shown[0] == image_url(np.asarray(Image.open(folder / "03.png")))


@pytest.mark.e2e
def test_the_notebook_runs_from_its_first_cell_to_its_last(trained, dataset, shared_outputs, tmp_path, monkeypatch):
    """What it trains and indexes is there already; it searches, judges a picture, and trains a second seed."""
    options = [*CLASSIFICATION[2:], "--training.epochs", "3", "--evaluation.label_folds", "0"]
    for name, value in {
        "PRESET": "debug",
        "DATASET": f"--dataset.path {dataset}",
        "OPTIONS": " ".join(options),
        "PREFECT_API_URL": PREFECT_API_URL.value(),
        "JUPYTER_PLATFORM_DIRS": "1",
        "JUPYTER_RUNTIME_DIR": str(tmp_path),
        "IPYTHONDIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    done = execute(notebook(SCRIPT.read_text()), SCRIPT.parent, 600)
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 4
    tables = [output.data["text/plain"] for output in outputs if output.output_type == "execute_result"]
    assert tables[0] == "'debug'"
    assert "test/auc" in tables[1]
    assert "seed 0" in tables[2] and "seed 1" in tables[2]
