"""The markdown report of the retrieval stage."""

from collections.abc import Sequence

from models.markdown import escape
from tasks.retrieval.analyses.failures import count_failures, worst_queries
from tasks.retrieval.metrics.chance import Protocol
from tasks.retrieval.metrics.ranking import CLASS_NAMES, RankingResult, means, summarize
from tasks.shared.markdown import document, table


def retrieval_report(
    leave_one_out: Protocol,
    gallery: Protocol,
    conditioned: Protocol,
    true_class: RankingResult,
    *,
    encoder: str,
    index: str,
    findings: Sequence[tuple[str, str]],
    k: int,
    worst: int,
    samples: int,
    seed: int,
    phantoms: bool,
) -> str:
    """Write the report of the stage.

    Args:
        leave_one_out: each test image searched among the others.
        gallery: each test image searched in the train split.
        conditioned: searched among the items of the predicted class only.
        true_class: searched among the items of the true class, the upper bound of `conditioned`.
        encoder: what made the vectors, in words.
        index: what they are searched with, in words.
        findings: further sections, title and markdown of each.
        k: the cut-off of the tables by class and of failures, one of those evaluated.
        worst: queries in the table of failures.
        samples: bootstrap samples of the intervals.
        seed: seed of the bootstrap.
        phantoms: whether the data are drawn phantoms.

    Returns:
        Markdown.
    """
    protocols = (leave_one_out, gallery, conditioned)
    sections = [
        ("Protocol", _definitions(protocols, encoder, index)),
        ("Results", _results(protocols, samples, seed)),
        ("By class", _by_class(protocols, k)),
        ("Search in the predicted class", _conditioned(conditioned, true_class, k)),
        ("Failures", _failures(leave_one_out, k, worst)),
        *findings,
        ("Limits", _LIMITS),
    ]
    return document("Retrieval of similar cases", sections, phantoms=phantoms)


def _definitions(protocols: Sequence[Protocol], encoder: str, index: str) -> str:
    lines = [
        f"Encoder: {escape(encoder)}.",
        f"Index of all splits: {index}. The figures below come from full rankings, which need none.",
        f"Queries: {len(protocols[0].result.query_ids)} test images, ranked by cosine of their embeddings; a neighbour "
        "is relevant if it has the query's class.",
        "The query itself is removed by its id, never by its rank; exact duplicates of it stay. Equal cosines keep the "
        "order of the gallery.",
        "Precision@k is the share of relevant items among the first k; Hit@k asks whether there is any. Average "
        "precision runs over the full ranking and divides by all relevant items; mAP is its mean over queries. "
        "R-precision is the precision at the number of relevant items.",
        "Intervals are 95 % percentile bootstrap over queries. Chance is the exact expectation of a random ranking.",
    ]
    lines += [
        f"{protocol.name}: queries without a relevant item, left out of mAP: {protocol.result.without_relevant}."
        for protocol in protocols
        if protocol.result.without_relevant
    ]
    return "".join(f"- {line}\n" for line in lines)


def _results(protocols: Sequence[Protocol], samples: int, seed: int) -> str:
    rows = []
    for protocol in protocols:
        measured = summarize(protocol.result, "x", samples=samples, seed=seed)
        chance = means(protocol.chance, "x")
        for name, expected in chance.items():
            if name in measured:
                interval = f"{measured[f'{name}_ci_low']:.3f}–{measured[f'{name}_ci_high']:.3f}"
                rows.append((protocol.name, name.removeprefix("x/"), measured[name], interval, expected))
    return table(("protocol", "metric", "value", "95 % interval", "chance"), rows)


def _by_class(protocols: Sequence[Protocol], k: int) -> str:
    rows = [
        (
            protocol.name,
            name,
            int((protocol.result.query_labels == label).sum()),
            protocol.result.mean_precision(k, label),
            protocol.chance.mean_precision(k, label),
            protocol.result.mean_average_precision(label),
            protocol.chance.mean_average_precision(label),
        )
        for protocol in protocols
        for label, name in enumerate(CLASS_NAMES)
    ]
    return table(("protocol", "class", "queries", f"precision@{k}", "chance", "mAP", "chance"), rows)


def _conditioned(conditioned: Protocol, true_class: RankingResult, k: int) -> str:
    rows = [
        ("predicted class", conditioned.result.mean_precision(k)),
        ("true class: upper bound, 1 by construction", true_class.mean_precision(k)),
    ]
    return (
        "All neighbours found this way have the class that was searched, so every figure equals the classifier's "
        "accuracy: it says how often the class was right, not how alike the cases are. The true class is not known in "
        "use; its row is an upper bound and no result.\n\n" + table(("searched among", f"precision@{k}"), rows)
    )


def _failures(protocol: Protocol, k: int, worst: int) -> str:
    result = protocol.result
    counts = [
        (count.name, count.queries, count.misses, count.minorities, count.minorities / max(count.queries, 1))
        for count in count_failures(result, k=k)
    ]
    header = ("class", "queries", f"none of its class in {k}", f"fewer than half of {k}", "share")
    places = {int(query): place for place, query in enumerate(result.query_ids)}
    rows = []
    for query in worst_queries(result, worst, k=k):
        place = places[int(query)]
        name = CLASS_NAMES[result.query_labels[place]]
        rows.append((int(query), name, float(result.precision_at[k][place]), float(result.average_precision[place])))
    return (
        f"{protocol.name}, by class:\n\n{table(header, counts)}\n"
        f"Worst queries, by Hit@{k}, precision@{k}, average precision:\n\n"
        + table(("id", "class", f"precision@{k}", "average precision"), rows)
    )


_LIMITS = """\
- Relevance is the class label alone: X-rays of one class may look nothing alike, and alike ones may differ in class.
- The embedding was trained to tell these classes apart, so the figures say more about that than about similarity.
- Test and train differ in the share and the look of normal images, so figures of the two galleries are not comparable \
without their chance levels.
- MedMNIST carries no patient numbers: images of one patient may find each other.
- One trained model, one test split: intervals cover the choice of queries, not of training.
"""
