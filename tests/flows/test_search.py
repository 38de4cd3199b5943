"""Retrieval with three encoders on real images, one of them with random weights, and searches in what it leaves."""

import base64
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image
from prefect import Task
from prefect.client.orchestration import get_client
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from flows.add import add
from flows.retrieval import retrieval
from flows.search import search
from flows.support.shell import main
from models.notices import RESEARCH_NOTICE
from tasks.execution.caching import outcomes
from tasks.execution.fingerprint import fingerprint
from tasks.retrieval import encoders
from tasks.retrieval.published.publication import find_published
from tasks.retrieval.search_result import pixel_digest
from tasks.retrieval.steps import analysis, encoding, evaluation, indexing, plotting
from tasks.retrieval.steps import search as searching
from tasks.shared.png import with_few_colors
from tasks.storage.locations import tracking_uri
from tasks.storage.store import Store
from tests.flows.small import FEW_IMAGES, LIMIT, RETRIEVAL, executed, run_flow
from tests.models.encoders.twins import write_clip
from tests.support.pages import page_of

SPLITS = ("train", "val", "test")
TEXT = "chest radiograph of a child with pneumonia"
NAMES = ("classifier", "metric", "clip")

pytestmark = pytest.mark.usefixtures("prefect_server", "shared_outputs")


@pytest.fixture(scope="module", autouse=True)
def _data(official_file):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA", str(official_file.parent))
        yield


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = write_clip(tmp_path_factory.mktemp("clip"))
    return [*RETRIEVAL, *FEW_IMAGES, "--retrieval.clip", str(folder), "--retrieval.publish", "always"]


@pytest.fixture(scope="module")
def first(prefect_server, shared_outputs, _data, words):
    return run_flow(retrieval, [*words, "--retrieval.encoders", "classifier,metric"])


@pytest.fixture(scope="module")
def grown(first, words):
    return run_flow(retrieval, [*words, "--retrieval.encoders", "classifier,metric,clip"])


@pytest.fixture(scope="module")
def runs(grown):
    """MLflow run by encoder."""
    client = MlflowClient(tracking_uri())
    experiment = client.get_experiment_by_name("pneumonia/retrieval").experiment_id
    found = [
        client.search_runs([experiment], f"tags.`prefect.flow_run_id` = '{flow_run_id}'")
        for flow_run_id in grown[0].flow_run_ids
    ]
    assert [len(of_flow_run) for of_flow_run in found] == [1, 1, 1]
    return {run.data.params["encoder"]: run for (run,) in found}


@pytest.fixture(scope="module")
def images(grown):
    return Store().get_arrays(find_published("classifier").dataset.splits)


def _picture(images, index, path):
    Image.fromarray(images["test_images"][index]).save(path)
    return str(path)


def _search(*words):
    found, steps = run_flow(search, words)
    return Store().get_json(found.result), found, steps


def _cosines(name, query):
    """Cosine of a vector with that of every image, by split and place, computed one by one."""
    return {
        (split, index): float(vector @ query / np.linalg.norm(vector) / np.linalg.norm(query))
        for split in SPLITS
        for index, vector in enumerate(_vectors(name, split))
    }


def _vectors(name, split):
    (shard,) = find_published(name).embeddings.shards[split]
    return Store().get_arrays(shard.vectors)["vectors"].astype(np.float64)


def _require_nearest(result, cosines):
    """Compare with the largest cosines; which of two equal ones comes first is not told by rounded numbers."""
    hits = result["hits"]
    assert [hit["rank"] for hit in hits] == list(range(1, result["k"] + 1))
    assert len({(hit["split"], hit["index"]) for hit in hits}) == len(hits)
    similarities = [hit["similarity"] for hit in hits]
    assert similarities == pytest.approx(sorted(cosines.values(), reverse=True)[: len(hits)], abs=1e-5)
    assert similarities == pytest.approx([cosines[hit["split"], hit["index"]] for hit in hits], abs=1e-5)


def test_each_encoder_has_its_own_mlflow_run(grown, runs):
    client = MlflowClient(tracking_uri())
    assert tuple(runs) == NAMES
    assert grown[0].run.run_id == runs["classifier"].info.run_id
    for name, run in runs.items():
        assert run.info.status == "FINISHED"
        assert run.data.params["retrieval.encoders"] == "['classifier', 'metric', 'clip']"
        assert run.data.tags["encoder.identity"] == find_published(name).encoder.identity
        for metric in ("loo/precision_at_1", "loo/map", "gallery/precision_at_5", "index/recall_at_10"):
            assert 0 <= run.data.metrics[metric] <= 1
        assert ("zero_shot/auc" in run.data.metrics) == (name == "clip")
        assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
            "embeddings", "figures", "images", "findings", "index", "map.html", "report.html", "report.md",
        }  # fmt: skip
        page = Path(client.download_artifacts(run.info.run_id, "map.html")).read_text()
        assert page.startswith("<!DOCTYPE html>")
        assert f"the encoder {name} sees them" in page
    assert runs["clip"].data.tags["encoder.licence"] == "unknown"


def test_the_precision_is_that_of_the_nearest_other_test_images(runs, images):
    labels = images["test_labels"]
    for name, run in runs.items():
        vectors = _vectors(name, "test")
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines = vectors @ vectors.T
        np.fill_diagonal(cosines, -2)
        right = np.mean(labels[cosines.argmax(axis=1)] == labels)
        # Rounded numbers may name another one of two neighbours that are equally near.
        assert run.data.metrics["loo/precision_at_1"] == pytest.approx(right, abs=2.01 / LIMIT)


def test_the_report_compares_each_other_encoder_with_the_first(runs):
    client = MlflowClient(tracking_uri())
    for name, run in runs.items():
        report = Path(client.download_artifacts(run.info.run_id, "report.md")).read_text()
        assert find_published(name).encoder.identity in report
        assert ("Encoders compared, leave-one-out" in report) == (name != "classifier")
        if name == "classifier":
            continue
        findings = json.loads(Path(client.download_artifacts(run.info.run_id, "findings/encoders.json")).read_text())
        for title, prefix in (("leave-one-out", "loo"), ("test → train", "gallery")):
            rows = {row["encoder"]: row for row in findings[title] if row["metric"] == "precision_at_1"}
            assert list(rows) == {"metric": ["metric"], "clip": ["metric", "clip"]}[name]  # those before it too
            row, metric = rows[name], f"{prefix}/precision_at_1"
            before, after = (runs[each].data.metrics[metric] for each in ("classifier", name))
            assert row["difference"] == pytest.approx(after - before)
            assert row["low"] <= row["difference"] <= row["high"]


def test_the_prefect_runs_show_report_steps_and_link(grown):
    for flow_run_id in grown[0].flow_run_ids:
        page = page_of(flow_run_id)
        for text in ("[MLflow run](http", "Index of the encoder", "Protocol", "\n## Steps"):
            assert text in page


def test_another_encoder_runs_its_own_steps_only(first, grown):
    result, steps = grown
    assert {"train-classifier", "fit-metric-encoder", "embed-shard"} <= executed(first[1])
    assert executed(steps) == executed(outcomes([result.flow_run_ids[2]]))
    assert {"embed-shard", "query-texts", "compare-encoders"} <= executed(steps)
    assert {step.step for step in steps if step.hit} >= {"train-classifier", "fit-metric-encoder", "plot-retrieval"}


def test_changing_k_embeds_nothing(grown, words):
    changed = ["--retrieval.encoders", "classifier,clip", "--retrieval.k_values", "1,3"]
    result, steps = run_flow(retrieval, [*words, *changed])
    assert executed(steps) == {
        "evaluate-retrieval", "query-texts", "compare-encoders", "plot-retrieval", "document-retrieval",
    }  # fmt: skip
    assert "loo/precision_at_3" in result.retrieval.metrics


def test_a_prompt_is_an_input_of_the_text_queries_alone():
    phases = (analysis, encoding, evaluation, indexing, plotting, searching)
    steps = [value for phase in phases for value in vars(phase).values() if isinstance(value, Task)]
    reading = {
        each.fn.__name__
        for each in steps
        if "tasks.retrieval.analyses.text_queries:text_prompts.json" in fingerprint(each.fn).code
    }
    assert reading == {"query_texts"}


@pytest.mark.parametrize("name", NAMES)
def test_an_image_of_the_dataset_finds_the_nearest_others_but_not_itself(name, images):
    result, _, _ = _search("--search.encoder", name, "--search.index", "3", "--search.split", "val")
    assert result["encoder"] == name
    assert result["query"]["name"] == "val #3"
    assert result["query"]["label"] == images["val_labels"][3]
    cosines = _cosines(name, _vectors(name, "val")[3])
    assert cosines.pop(("val", 3)) == pytest.approx(1)
    _require_nearest(result, cosines)
    assert len(result["hits"]) == 10
    for hit in result["hits"]:
        assert hit["label"] == images[f"{hit['split']}_labels"][hit["index"]]


@pytest.mark.parametrize("name", NAMES)
def test_an_image_file_finds_the_same_image_in_the_dataset(name, images, tmp_path):
    picture = _picture(images, 7, tmp_path / "case.png")
    result, _, _ = _search("--search.encoder", name, "--search.image", picture)
    assert (result["query"]["kind"], result["query"]["name"]) == ("image", "case.png")
    nearest = result["hits"][0]
    assert (nearest["split"], nearest["index"]) == ("test", 7)
    assert nearest["similarity"] == pytest.approx(1, abs=1e-5)
    _require_nearest(result, _cosines(name, _vectors(name, "test")[7]))


def test_a_text_finds_the_images_nearest_to_it(grown):
    result, _, _ = _search("--search.encoder", "clip", "--search.text", f"  {TEXT}\n")
    assert (result["query"]["kind"], result["query"]["name"]) == ("text", TEXT)
    (vector,) = encoders.load(find_published("clip").encoder).encode_texts([TEXT])
    _require_nearest(result, _cosines("clip", vector.astype(np.float64)))


def test_only_the_splits_and_the_class_asked_for_are_searched(images):
    among = ["--search.among_splits", "train,val", "--search.among_class", "normal", "--search.k", "25"]
    result, _, _ = _search("--search.index", "0", *among)
    assert {hit["split"] for hit in result["hits"]} == {"train", "val"}
    assert result["class_shares"] == {"normal": 1, "pneumonia": 0}
    cosines = _cosines("classifier", _vectors("classifier", "test")[0])
    normal = {
        (split, index): cosine
        for (split, index), cosine in cosines.items()
        if split != "test" and images[f"{split}_labels"][index] == 0
    }
    _require_nearest(result, normal)


def test_all_that_the_filters_leave_can_be_asked_for_but_no_more(images, capsys):
    normal = np.flatnonzero(images["test_labels"] == 0).tolist()
    query = ["--search.index", str(normal[0]), "--search.among_splits", "test", "--search.among_class", "normal"]
    result, _, _ = _search(*query, "--search.k", str(len(normal) - 1))
    assert sorted(hit["index"] for hit in result["hits"]) == normal[1:]
    told = _mistake([*query, "--search.k", str(len(normal))], capsys)
    assert told.endswith(f"choose k from 1 to {len(normal) - 1}.")


def test_what_is_found_is_printed_written_and_shown(images, shared_outputs, tmp_path, capsys):
    picture = _picture(images, 11, tmp_path / "printed.png")
    before = set(shared_outputs.glob("searches/*/*"))
    capsys.readouterr()
    assert main(search, ["--search.image", picture, "--search.k", "4"]) == 0
    (folder,) = set(shared_outputs.glob("searches/*/*")) - before
    assert folder.parent.name == "image file printed.png · k 4"
    assert {file.name for file in folder.iterdir()} == {"result.json", "gallery.png", "report.md"}

    result = json.loads((folder / "result.json").read_text())
    assert (result["k"], len(result["hits"]), result["notice"]) == (4, 4, RESEARCH_NOTICE)
    with Image.open(folder / "gallery.png") as gallery:
        gallery.load()
        assert min(gallery.size) > 200
    report = (folder / "report.md").read_text()
    printed = capsys.readouterr().out
    assert "nearest to printed.png" in printed
    assert f"Gallery and JSON: {folder}" in printed
    for text in (report, printed):
        assert RESEARCH_NOTICE in text
        for hit in result["hits"]:
            (line,) = [line for line in text.splitlines() if f" {hit['split']} #{hit['index']} " in line]
            assert f" {result['class_names'][hit['label']]} " in line
            assert f" {hit['similarity']:.3f} " in line

    encoded = base64.b64encode(with_few_colors((folder / "gallery.png").read_bytes())).decode()
    with get_client(sync_client=True) as client:
        shown = [str(artifact.data) for artifact in client.read_artifacts(limit=200)]
    (page,) = [data for data in shown if f"data:image/png;base64,{encoded}" in data]
    assert all(line in page for line in report.splitlines())


def test_the_same_search_is_a_hit_wherever_the_file_lies(images, tmp_path):
    picture = _picture(images, 5, tmp_path / "same.png")
    result, found, steps = _search("--search.image", picture)
    assert [(step.step, step.hit) for step in steps] == [("search-cases", False)]
    (tmp_path / "elsewhere").mkdir()
    copy = str(shutil.copy(picture, tmp_path / "elsewhere" / "same.png"))
    again, found_again, steps = _search("--search.image", copy)
    assert [(step.step, step.hit) for step in steps] == [("search-cases", True)]
    assert (again, found_again) == (result, found)
    assert str(tmp_path) not in json.dumps(result)
    _picture(images, 6, copy)
    changed, _, steps = _search("--search.image", copy)
    assert [(step.step, step.hit) for step in steps] == [("search-cases", False)]
    assert changed["hits"][0]["index"] == 6


def test_a_search_that_names_nothing_is_one_for_the_first_image(grown):
    example, found, _ = _search()
    assert (example, found) == _search("--search.index", "0")[:2]


@pytest.mark.parametrize(
    ("question", "told"),
    [
        (
            ["--search.index", "1", "--search.text", "a", "--search.encoder", "clip"],
            "takes one of --search.index, --search.image and --search.text, but 2 were given; ",
        ),
        (["--search.text", "", "--search.encoder", "clip"], "--search.text is empty: write what to look for"),
        (["--search.text", " ... ", "--search.encoder", "clip"], "The text to search for is empty"),
        (["--search.text", "opacity " * 100, "--search.encoder", "clip"], "77"),
        (["--search.text", TEXT], "The encoder classifier reads no text; text queries need one of clip, pubmedclip"),
        (
            ["--search.index", str(LIMIT)],
            f"--search.index {LIMIT}: the test split has the images 0 to {LIMIT - 1}; choose one.",
        ),
        (["--search.index", "-1"], "--search.index: Input should be greater than or equal to 0"),
        (["--search.index", "1", "--search.k", "101"], "--search.k: Input should be less than or equal to 100"),
        (
            ["--search.index", "1", "--search.encoder", "vgg"],
            "--search.encoder: Input should be 'classifier', 'metric'",
        ),
        (
            ["--search.index", "1", "--search.encoder", "biomedclip"],
            "There is no index of the encoder biomedclip yet: run the retrieval flow with it first, over whole data "
            "(`python -m flows.retrieval --retrieval.encoders biomedclip`",
        ),
    ],
)
def test_a_wrong_question_is_one_sentence(grown, question, told, capsys):
    assert told in _mistake(question, capsys)


def test_a_damaged_pointer_or_index_is_one_sentence_that_says_how_to_make_it_anew(grown, capsys):
    store, index = Store(), find_published("classifier").index.indices["all"]
    for name in ("retrieval/classifier.json", index.uri):
        kept = store.read(name)
        store.write(name, kept[:-1])
        try:
            told = _mistake(["--search.index", "1"], capsys)
        finally:
            store.write(name, kept)
        assert "The index that retrieval/classifier.json in the store names is damaged (" in told
        assert "run the retrieval flow again (`python -m flows.retrieval --retrieval.encoders classifier`" in told


def test_a_file_that_is_no_image_is_one_sentence(images, tmp_path, capsys):
    (tmp_path / "note.png").write_text("no picture")
    _write_dicom_without_pixels(tmp_path / "case.dcm")
    whole = Path(_picture(images, 0, tmp_path / "whole.png")).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    for file, told in (
        ("note.png", "note.png is no image: an image file (PNG, "),
        ("case.dcm", "case.dcm is a DICOM file without pixels ("),
        ("cut.png", "cut.png cannot be read ("),
        ("missing.png", "missing.png: an image file (PNG, "),
    ):
        assert told in _mistake(["--search.image", str(tmp_path / file)], capsys)


def test_what_was_added_counts_in_no_metric_and_stays_when_the_index_is_published_again(grown, words, tmp_path):
    file = tmp_path / "new.png"
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (50, 40), dtype=np.uint8)).save(file)
    added, _ = run_flow(add, ["--add.images", str(file), "--add.label", "normal"])
    vectors = {name: _search("--search.encoder", name, "--search.image", str(file))[0]["hits"][0] for name in NAMES}
    assert {(hit["name"], hit["label"]) for hit in vectors.values()} == {("new.png", 0)}
    assert all(hit["similarity"] == pytest.approx(1, abs=1e-5) for hit in vectors.values())
    result, steps = run_flow(retrieval, [*words, "--retrieval.encoders", "classifier,metric,clip"])
    assert len(steps) == len(grown[1])
    assert executed(steps) == set()  # the same again executes nothing
    assert result.retrieval == grown[0].retrieval
    assert result.index == grown[0].index
    assert _search("--search.image", str(file))[0]["hits"][0]["name"] == "new.png"
    run_flow(add, ["--add.remove", added.pictures[0].digest])
    assert {len(find_published(name).added) for name in NAMES} == {0}


def test_an_index_by_distance_is_judged_searched_and_shown_by_distance(grown, words, images, shared_outputs, capsys):
    by_distance = ["--retrieval.similarity", "l2", "--retrieval.encoders", "classifier"]
    result, steps = run_flow(retrieval, [*words, *by_distance])
    assert not {"embed-shard", "project-embeddings", "export-embeddings", "measure-drift"} & executed(steps)
    vectors, labels = _vectors("classifier", "test").astype(np.float64), images["test_labels"]
    distances = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    np.fill_diagonal(distances, np.inf)
    hits = labels[distances.argmin(axis=1)] == labels
    assert result.retrieval.metrics["loo/precision_at_1"] == pytest.approx(hits.mean())
    found, *_ = _search("--search.index", "3", "--search.among_splits", "test", "--search.k", "5")
    assert found["measure"] == "distance"
    assert [hit["distance"] for hit in found["hits"]] == pytest.approx(np.sort(distances[3])[:5], abs=1e-4)
    assert "distance" in capsys.readouterr().out
    near = Store().get_arrays(result.neighbours.arrays)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = np.take_along_axis(unit @ unit.T, near["test_ids"], axis=1)
    np.testing.assert_allclose(near["test_similarities"], cosines, atol=1e-5)  # what reports and errors are judged by
    with np.load(MlflowClient(tracking_uri()).download_artifacts(result.run.run_id, "embeddings/test.npz")) as exported:
        np.testing.assert_array_equal(exported["vectors"], vectors.astype(np.float32))
        assert exported["labels"].tolist() == labels.tolist()
        assert exported["digests"][3] == pixel_digest(images["test_images"][3])


def test_diversity_takes_others_than_the_nearest(grown):
    plain, diverse = (
        [(hit["split"], hit["index"]) for hit in _search("--search.k", "5", "--search.diversity", diversity)[0]["hits"]]
        for diversity in ("0", "0.5")
    )
    assert plain[0] == diverse[0]
    assert len(set(diverse)) == 5
    assert set(plain) != set(diverse)


def _write_dicom_without_pixels(path):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid(entropy_srcs=["test"])
    dataset.save_as(path, enforce_file_format=True)


def _mistake(words, capsys):
    """Search for what cannot be searched for, and return the one sentence."""
    folder = Store().root.rsplit("/", 1)[0]
    before = set(Path(folder).glob("searches/*/*"))
    capsys.readouterr()
    assert main(search, words) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    assert set(Path(folder).glob("searches/*/*")) == before
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    return errors[0]
