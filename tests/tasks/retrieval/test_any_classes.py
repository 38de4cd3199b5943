"""Findings, figures, report, map and search over three classes in colour, whose names are the dataset's."""

import numpy as np
import pytest

from models.errors import InputError
from models.explanation.similarity_maps import SimilarityMaps
from tasks.parameters.search import SearchParameters
from tasks.records.data import DatasetRecord
from tasks.records.retrieval import EmbeddingsRecord, EncoderRecord, IndexRecord, SearchableRecord
from tasks.retrieval.analyses.text_queries import read_prompts
from tasks.retrieval.checks import check_search
from tasks.retrieval.evidence import Evidence
from tasks.retrieval.figures.interactive_map import MapCases, interactive_map
from tasks.retrieval.figures.search import search_gallery
from tasks.retrieval.figures.similarity import similarity_rows
from tasks.retrieval.figures.stage import draw_stage
from tasks.retrieval.findings.failures import find_failures
from tasks.retrieval.findings.neighbours import find_about_neighbours
from tasks.retrieval.findings.texts import no_prompts_apply
from tasks.retrieval.metrics.protocols import rank
from tasks.retrieval.search_result import Query, SearchedIndex, SearchResult, rank_hits, search_report
from tasks.retrieval.settings import SPLITS
from tasks.retrieval.summary import retrieval_report
from tasks.retrieval.vectors import LabelledVectors, exact_neighbours
from tasks.storage.store import Store
from tests.support.figures import REAL

NAMES = ("benign", "Atypical <naevus>", "melanoma")
COUNT = 36
REPORT = {
    "encoder": "e", "index": "flat", "similarity": "cosine", "findings": [], "k": 5, "worst": 3, "samples": 50,
    "seed": 0, "phantoms": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(0)
    labels = {split: generator.permutation(np.arange(COUNT) % 3) for split in SPLITS}
    arrays = {f"{split}_labels": labels[split] for split in SPLITS}
    arrays |= {f"{split}_images": generator.integers(0, 256, (COUNT, 8, 8, 3), dtype=np.uint8) for split in SPLITS}
    test, train = (
        LabelledVectors(generator.normal(size=(COUNT, 6)) + np.eye(6)[labels[split]], labels[split])
        for split in ("test", "train")
    )
    together = np.concatenate([test.vectors, train.vectors])
    neighbours = {}
    for split, items in (("test", np.arange(COUNT)), ("train", np.arange(COUNT, 2 * COUNT))):
        found = exact_neighbours(together, np.arange(COUNT), [items] * COUNT, 20)
        neighbours |= {f"{split}_ids": found.ids % COUNT, f"{split}_similarities": found.similarities}
    predicted = np.where(np.arange(COUNT) % 4 == 0, (labels["test"] + 1) % 3, labels["test"])
    predictions = {"predicted": predicted, "confidence": generator.uniform(0.4, 1, COUNT)}
    evidence = Evidence(arrays, predictions, neighbours, NAMES, REAL)
    return evidence, test, rank(test, train, predicted, [1, 5])


def test_the_report_of_classes_that_are_grades_has_their_metric_and_no_other_has(data):
    _, test, plain = data
    graded = rank(test, test, test.labels, [1, 5], grades=3)
    for protocols, told in ((plain, False), (graded, True)):
        text = retrieval_report(protocols, NAMES, **REPORT)
        assert ("ndcg at 5" in text) == ("NDCG@k is the gain" in text) == told


def test_exact_neighbours_are_those_of_a_naive_loop(data):
    evidence, test, _ = data
    unit = test.vectors / np.linalg.norm(test.vectors, axis=1, keepdims=True)
    for query in range(COUNT):
        others = sorted((item for item in range(COUNT) if item != query), key=lambda item: -unit[item] @ unit[query])
        assert evidence.neighbours["test_ids"][query].tolist() == others[:20]


def test_findings_name_the_classes_of_the_dataset(data):
    evidence, test, protocols = data
    failures = find_failures(
        evidence, protocols.ranked["loo"].result, test.vectors, similarity="cosine", columns=3, samples=50
    )
    about = find_about_neighbours(evidence, samples=50)
    assert [pattern["name"] for pattern in failures.details["patterns"]] == list(NAMES)
    for findings in (failures, about):
        assert all(png.startswith(b"\x89PNG") for png in findings.figures.values())
    assert failures.figures.keys() | about.figures.keys() == {
        "hardest_queries", "failure_patterns", "hubness", "error_detection", "near_duplicates",
    }  # fmt: skip
    for name in ("benign", "Atypical &lt;naevus&gt;", "melanoma"):
        assert f"| {name} | " in failures.sections[0][1]


def test_report_figures_and_map_name_the_classes_of_the_dataset(data):
    evidence, _, protocols = data
    report = retrieval_report(protocols, NAMES, **REPORT)
    for text in ("| map atypical naevus | ", "| test → train | melanoma | 12 | "):
        assert text in report
    plane = {"tsne": np.random.default_rng(1).normal(size=(COUNT, 2)), "umap": np.zeros((COUNT, 2))}
    drawn = draw_stage(evidence, protocols, plane, [3, 4], galleries=2, columns=3, samples=50)
    assert len(drawn) == 6
    cases = MapCases.of_test(evidence, count=5)
    page = interactive_map(cases, {"t-SNE": plane["tsne"]}, NAMES, title="Map", phantoms=False)
    assert "melanoma (12)" in page
    maps = SimilarityMaps(np.full((1, 2, 2), 0.2), np.full((1, 2, 2), 0.2), np.array([0.8]))
    images, labels = evidence.images[:1], evidence.labels[:1]
    assert similarity_rows(images, images, ["a"], ["b"], labels, labels, maps, NAMES, title="Pairs", source=REAL)


def test_a_search_names_the_classes_of_the_dataset(data):
    images = data[0].images
    index = SearchedIndex(run_id="r", published_at="p", dataset="d", dataset_digest="0", images={"test": COUNT})
    hits = rank_hits(np.array([0.9, 0.5, 0.4]), np.arange(3), np.arange(3), ["test"] * 3, np.arange(3), np.arange(3))
    image = images[5]
    result = SearchResult(
        query=Query.from_item("test", 5, 2, image), encoder="classifier", encoder_identity="e", index=index,
        class_names=NAMES, splits=("test",), label=None, k=3, hits=hits, phantoms=False,
    )  # fmt: skip
    assert result.class_shares == dict.fromkeys(NAMES, pytest.approx(1 / 3))
    assert "3 nearest cases: 1 benign, 1 Atypical" in search_report(result)
    assert search_gallery(result, images[:3], query_image=image)


def test_prompts_of_other_classes_are_not_asked_and_the_report_says_so():
    ((title, text),) = (found := no_prompts_apply(read_prompts(), NAMES)).sections
    assert (title, dict(found.metrics), found.figures) == ("Text → image", {}, {})
    assert text == (
        "The prompts of file version 1 describe X-rays of the classes normal and pneumonia, but the classes of this "
        "dataset are benign, Atypical &lt;naevus&gt;, melanoma: no text is searched for.\n"
    )


@pytest.mark.usefixtures("outputs")
def test_a_search_among_a_class_that_the_dataset_lacks_is_refused():
    file = Store().put(b"", "text/markdown")
    dataset = DatasetRecord(
        name="dermamnist", kind="own file", size=8, channels=3, labels=NAMES, licence="", md5="", sha256="",
        splits=file, audit=file, audit_table=file, counts=dict.fromkeys(SPLITS, COUNT), excluded_train=(),
        phantoms=False,
    )  # fmt: skip
    searchable = SearchableRecord(
        dataset=dataset, encoder=EncoderRecord(name="classifier", identity="e", licence=""),
        embeddings=EmbeddingsRecord(name="classifier", identity="e", dimension=6, shards={}),
        index=IndexRecord(identity="e", dimension=6, kinds={}, indices={}, offsets={}),
    )  # fmt: skip
    check_search(SearchParameters(index=0), searchable)
    with pytest.raises(InputError, match="among_class normal: the classes of the dataset are benign, Atypical"):
        check_search(SearchParameters(index=0, among_class="normal"), searchable)
