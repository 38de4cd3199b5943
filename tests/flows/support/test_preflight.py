import pytest

from flows.support.preflight import preflight, preflight_pipeline, preflight_with_reports
from models.errors import InputError
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.execution import ExecutionParameters
from tasks.parameters.reports import ReportParameters
from tasks.parameters.retrieval import RetrievalParameters
from tasks.records.reports import GeneratorRecord
from tests.support.drawn_sets import draw_set

THREADS, CLASSIFIER = ExecutionParameters(), {"encoders": ["classifier"]}


@pytest.fixture(autouse=True)
def _data(official_file, outputs, monkeypatch):
    monkeypatch.setenv("DATA", str(official_file.parent))


@pytest.mark.parametrize(
    ("dataset", "retrieval", "execution", "told"),
    [
        ({"limit": 32}, {**CLASSIFIER, "k_values": [30]}, {}, "--retrieval.k_values: k = 30 neighbours are more"),
        ({}, {"encoders": ["classifier", "classifier"]}, {}, "--retrieval.encoders classifier, classifier: one is"),
        ({}, CLASSIFIER, {"scheduler": "tcp://127.0.0.1:9"}, "--execution.scheduler tcp://127.0.0.1:9 is for Dask"),
    ],
)
def test_what_cannot_be_done_is_told_alike_by_both(dataset, retrieval, execution, told):
    forms = DatasetParameters(**dataset), RetrievalParameters(**retrieval)
    with pytest.raises(InputError, match=told):
        preflight(*forms, ExecutionParameters(**execution))
    with pytest.raises(InputError, match=told):
        preflight_with_reports(*forms, ReportParameters(), ExecutionParameters(**execution))


def test_prompts_and_searches_are_refused_where_they_do_not_apply_and_the_pipeline_leaves_them_out(tmp_path):
    path = draw_set(tmp_path, "bloodmnist", {"train": 1, "val": 1, "test": 1})
    blood, several = DatasetParameters(name="bloodmnist", path=str(path)), DatasetParameters(name="chestmnist")
    search, written = RetrievalParameters(**CLASSIFIER), ReportParameters()
    assert preflight(blood, search, THREADS) == []
    template = GeneratorRecord(name="template")
    assert preflight_pipeline(blood, search, written, THREADS) == ([], (template, None))
    assert preflight_with_reports(blood, search, written, THREADS) == ([], template, None)
    assert preflight_pipeline(several, search, written, THREADS) == (None, None)
    encoders, writers = preflight_pipeline(DatasetParameters(), search, written, THREADS)
    assert encoders == []
    assert writers is not None
    for data, why in ((blood, "Prompts, controls, the lexicon"), (several, "The images of chestmnist have several")):
        for more, named in ({"references": "r.csv"}, "references"), ({"generator": "medgemma"}, "generator medgemma"):
            told = rf"--dataset\.name {data.name} has no --reports\.{named}: {why}"
            with pytest.raises(InputError, match=told):
                preflight_pipeline(data, search, ReportParameters(**more), THREADS)
    with pytest.raises(InputError, match=r"--dataset\.name chestmnist has no search for similar cases"):
        preflight(several, search, THREADS)
    champion = RetrievalParameters(classifier="champion", **CLASSIFIER)
    with pytest.raises(InputError, match=r"--retrieval\.classifier champion: this flow searches with the classifier"):
        preflight_pipeline(several, champion, written, THREADS)


def test_only_a_flow_that_trains_no_classifier_takes_another():
    forms = DatasetParameters(), RetrievalParameters(classifier="champion", **CLASSIFIER)
    assert preflight(*forms, THREADS) == []
    with pytest.raises(InputError, match=r"--retrieval\.classifier champion: this flow searches with the classifier"):
        preflight_with_reports(*forms, ReportParameters(), THREADS)


def test_the_generator_and_the_encoders_are_found():
    located, generator, references = preflight_with_reports(
        DatasetParameters(), RetrievalParameters(**CLASSIFIER), ReportParameters(), THREADS
    )
    assert (located, generator.name, references) == ([], "template", None)


@pytest.mark.parametrize(("dataset", "last"), [({}, 623), ({"limit": 32}, 31)])
def test_reference_reports_are_read_before_anything_is_computed(dataset, last, tmp_path):
    path = tmp_path / "references.csv"
    forms = DatasetParameters(**dataset), RetrievalParameters(**CLASSIFIER), ReportParameters(references=str(path))
    path.write_text(f"case,reference\n{last},Clear lungs.\n")
    references = preflight_with_reports(*forms, THREADS)[2]
    assert references.count == 1
    path.write_text(f"case,reference\n{last + 1},Clear lungs.\n")
    with pytest.raises(InputError, match=rf"entry 1 is on case {last + 1}; count the test images from 0 to {last}\."):
        preflight_with_reports(*forms, THREADS)
    path.write_text(f"case,reference\n{last},Another text.\n")
    assert preflight_with_reports(*forms, THREADS)[2] != references  # so that the audit is made anew
