from dataclasses import replace

import numpy as np
import pytest

from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE
from tasks.retrieval.analyses.failures import worst_queries
from tasks.retrieval.metrics import chance, conditioned
from tasks.retrieval.metrics.protocols import Protocol, Protocols
from tasks.retrieval.metrics.ranking import evaluate
from tasks.retrieval.summary import retrieval_report

K_VALUES = [1, 5]


@pytest.fixture
def protocols():
    generator = np.random.default_rng(0)
    labels, gallery_labels = np.repeat([0, 1], [12, 18]), np.repeat([0, 1], [20, 40])
    predicted = np.where(generator.random(30) < 0.3, 1 - labels, labels)
    vectors, gallery = generator.normal(size=(30, 4)), generator.normal(size=(60, 4))
    ids, gallery_ids = np.arange(100, 130), np.arange(60)
    level = chance.leave_one_out(labels, ids, K_VALUES)

    def within(classes):
        return conditioned.evaluate(vectors, labels, classes, vectors, labels, ids, ids, K_VALUES)

    ranked = {
        "loo": Protocol("leave-one-out", evaluate(vectors, labels, vectors, labels, ids, ids, K_VALUES), level),
        "gallery": Protocol(
            "test → train",
            evaluate(vectors, labels, gallery, gallery_labels, ids, gallery_ids, K_VALUES),
            chance.from_gallery(labels, ids, gallery_labels, K_VALUES),
        ),
        "conditioned": Protocol("predicted class", within(predicted), level),
    }
    return Protocols(ranked, within(labels))


def report(protocols, *, phantoms=False):
    return retrieval_report(
        protocols,
        ("normal", "pneumonia"),
        encoder="some encoder",
        index="flat",
        similarity="cosine",
        findings=[("More", "found")],
        k=5,
        worst=4,
        samples=50,
        seed=0,
        phantoms=phantoms,
    )


def rows(text, *cells):
    """Rows of the report's tables that begin with these cells."""
    return [line for line in text.splitlines() if line.startswith(f"| {' | '.join(cells)} |")]


def test_every_protocol_stands_beside_its_chance(protocols):
    text = report(protocols)
    for protocol in protocols.ranked.values():
        (header,), (row,) = rows(text, "metric"), rows(text, "precision at 5")
        column = [cell.strip() for cell in header.split("|")].index(protocol.name)
        value, low, _, high, expected = row.split("|")[column].split()
        assert value == f"{protocol.result.mean('precision_at_5'):.3f}"
        assert expected == f"*{protocol.chance.mean('precision_at_5'):.3f}*"
        assert float(low.strip("(")) <= protocol.result.mean("precision_at_5") <= float(high.strip(")"))
        (row,) = rows(text, protocol.name, "pneumonia")
        by_chance = protocol.chance.mean("average_precision", 1)
        assert f"| {protocol.result.mean('average_precision', 1):.3f} *{by_chance:.3f}* |" in row


def test_the_upper_bound_is_labelled(protocols):
    assert "| true class: upper bound, 1 by construction | 1.000 |" in report(protocols)


def test_the_worst_queries_are_listed_in_order(protocols):
    result = protocols.ranked["loo"].result
    listed = report(protocols).split("Worst queries")[1].split("\n## ")[0]
    ids = [int(line.split("|")[1]) for line in listed.splitlines() if line.startswith("| 1")]
    assert ids == worst_queries(result, 4, k=5).tolist()


def test_queries_without_relevant_items_are_said(protocols):
    assert "without a relevant item" not in report(protocols)
    labels, ids = np.array([0, *[1] * 11]), np.arange(12)
    vectors = np.random.default_rng(1).normal(size=(12, 3))
    lonely = Protocol(
        "leave-one-out",
        evaluate(vectors, labels, vectors, labels, ids, ids, K_VALUES),
        chance.leave_one_out(labels, ids, K_VALUES),
    )
    text = report(replace(protocols, ranked=protocols.ranked | {"loo": lonely}))
    assert "leave-one-out: queries without a relevant item, left out of mAP: 1." in text
    (row,) = rows(text, "map normal")
    assert row.split("|")[2].strip() == "–"


def test_notices_come_first(protocols):
    assert report(protocols).splitlines()[2] == f"> {RESEARCH_NOTICE}"
    assert PHANTOM_NOTICE not in report(protocols)
    assert PHANTOM_NOTICE in report(protocols, phantoms=True)
