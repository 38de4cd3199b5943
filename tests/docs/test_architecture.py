"""The pictures of the code: no circle, and the lines that a reader would expect."""

import inspect
from graphlib import CycleError

import pytest

from docs.tools.architecture import packages, rows
from docs.tools.data_flow import LANES, data_flow, draw


def test_no_packages_import_each_other_in_a_circle():
    placed = {package: level for level, row in enumerate(rows(packages())) for package in row}
    for package, others in packages().items():
        assert all(placed[package] < placed[other] for other in others), package
    assert not any("flows" in others for others in packages().values())
    assert placed["models"] == max(placed.values())


def test_a_circle_is_refused():
    with pytest.raises(CycleError):
        rows({"flows": {"tasks"}, "tasks": {"models"}, "models": {"flows"}})


def test_the_steps_of_every_flow_are_drawn_with_what_they_hand_on():
    graphs = {title: data_flow(inspect.unwrap(getattr(module, name).fn)) for title, module, name in LANES}
    classification, retrieval, reports = graphs.values()
    assert ("train_classifier", "predict_classifier") in classification.edges
    assert ("predict_fold", "audit_labels") in classification.edges
    assert ("embed_all", "project_embeddings") in retrieval.edges
    assert ("project_embeddings", "plot_retrieval") in retrieval.edges
    assert ("plan_reports", "write_reports") in reports.edges  # mapped, with other options
    assert len(draw(graphs).axes) == 1
