"""The markdown report of the retrieval stage."""

from collections.abc import Mapping, Sequence

from models.choices import Similarity
from models.markdown import Markdown, escape
from tasks.retrieval.analyses.failures import count_failures, worst_queries
from tasks.retrieval.metrics.protocols import Protocol, Protocols
from tasks.retrieval.metrics.ranking import RankingResult, means, summarize
from tasks.retrieval.metrics.table import metric_of
from tasks.shared.markdown import document, picture, table

_PRECISION = picture(
    "precision_at_k",
    "Share of the query's class among its k nearest: what is gained is the distance to the dashed line of chance.",
)
_CLASSES = picture(
    "map_by_class", "How high the whole ranking puts images of the query's class, by class: dashed is a random ranking."
) + picture(
    "projection", "Test images near each other look alike to the network: rings show where retrieval fails most often."
)
_GALLERIES = picture(
    "gallery_test", "Test images and the test images nearest to them: green frames have the query's class."
) + picture("gallery_train", "The same queries and the training images nearest to them.")
_WORST = picture("gallery_worst", "The queries for which retrieval fails worst: their neighbours are of another class.")


def retrieval_report(
    protocols: Protocols,
    class_names: Sequence[str],
    *,
    encoder: str,
    index: str,
    similarity: Similarity,
    findings: Sequence[tuple[str, str]],
    k: int,
    worst: int,
    samples: int,
    seed: int,
    phantoms: bool,
) -> str:
    """Write the report of the stage.

    Args:
        protocols: what was measured of the test images.
        class_names: by label.
        encoder: what made the vectors, in words.
        index: what they are searched with, in words.
        similarity: by which images are near.
        findings: further sections, title and markdown of each.
        k: the cut-off of the tables by class and of failures, one of those evaluated.
        worst: queries in the table of failures.
        samples: bootstrap samples of the intervals.
        seed: seed of the bootstrap.
        phantoms: whether the data are drawn phantoms.

    Returns:
        Markdown.
    """
    ranked = list(protocols.ranked.values())
    sections = [
        ("Results", _PRECISION + _results(ranked, class_names, samples, seed)),
        ("By class", _CLASSES + _by_class(ranked, class_names, k)),
        ("Examples", _GALLERIES),
        ("Search in the predicted class", _conditioned(protocols.ranked["conditioned"], protocols.true_class, k)),
        ("Failures", _WORST + _failures(protocols.ranked["loo"], class_names, k, worst)),
        *findings,
        ("Protocol", _definitions(ranked, encoder, index, similarity)),
        ("Limits", _LIMITS),
    ]
    return document("Retrieval of similar cases", sections, phantoms=phantoms)


_NEAR: dict[Similarity, str] = {"cosine": "cosine", "l2": "Euclidean distance"}


def _definitions(protocols: Sequence[Protocol], encoder: str, index: str, similarity: Similarity) -> str:
    lines = [
        f"Encoder: {escape(encoder)}.",
        f"Index of all splits: {index}. The figures below come from full rankings, which need none.",
        f"Queries: {len(protocols[0].result.query_ids)} test images, ranked by the {_NEAR[similarity]} of their "
        "embeddings; a neighbour is relevant if it has the query's class.",
        "The query itself is removed by its id, never by its rank; exact duplicates of it stay. What is equally near "
        "keeps the order of the gallery.",
        " ".join(dict.fromkeys(metric_of(column).definition for column in protocols[0].result.values)),
        "Intervals are 95 % percentile bootstrap over queries. Chance is the exact expectation of a random ranking.",
    ]
    lines += [
        f"{protocol.name}: queries without a relevant item, left out of mAP: {protocol.result.without_relevant}."
        for protocol in protocols
        if protocol.result.without_relevant
    ]
    return "".join(f"- {line}\n" for line in lines)


def _results(protocols: Sequence[Protocol], class_names: Sequence[str], samples: int, seed: int) -> str:
    measured = [summarize(each.result, "x", class_names, samples=samples, seed=seed) for each in protocols]
    expected = [means(each.chance, "x", class_names) for each in protocols]
    rows = [
        (
            name.removeprefix("x/").replace("_", " "),
            *(_with_chance(found, chance, name) for found, chance in zip(measured, expected, strict=True)),
        )
        for name in dict.fromkeys(name for each in expected for name in each)
    ]
    told = "Each with its 95 % interval, and in italics what a random ranking would score.\n\n"
    return told + table(("metric", *(protocol.name for protocol in protocols)), rows)


def _with_chance(measured: Mapping[str, float], chance: Mapping[str, float], name: str) -> Markdown:
    if name not in measured or name not in chance:
        return Markdown("–")
    low, high = measured[f"{name}_ci_low"], measured[f"{name}_ci_high"]
    return Markdown(f"{measured[name]:.3f} ({low:.3f} – {high:.3f}) *{chance[name]:.3f}*")


def _by_class(protocols: Sequence[Protocol], class_names: Sequence[str], k: int) -> str:
    rows = [
        (
            protocol.name,
            name,
            int((protocol.result.query_labels == label).sum()),
            *(
                Markdown(f"{protocol.result.mean(column, label):.3f} *{protocol.chance.mean(column, label):.3f}*")
                for column in (f"precision_at_{k}", "average_precision")
            ),
        )
        for protocol in protocols
        for label, name in enumerate(class_names)
    ]
    scores = table(("protocol", "class", "queries", f"precision@{k}", "mAP"), rows)
    return f"In italics what a random ranking would score.\n\n{scores}"


def _conditioned(conditioned: Protocol, true_class: RankingResult, k: int) -> str:
    rows = [
        ("predicted class", conditioned.result.mean(f"precision_at_{k}")),
        ("true class: upper bound, 1 by construction", true_class.mean(f"precision_at_{k}")),
    ]
    return (
        "All neighbours found this way have the class that was searched, so every metric equals the classifier's "
        "accuracy: it says how often the class was right, not how alike the cases are. The true class is not known in "
        "use; its row is an upper bound and no result.\n\n" + table(("searched among", f"precision@{k}"), rows)
    )


def _failures(protocol: Protocol, class_names: Sequence[str], k: int, worst: int) -> str:
    result = protocol.result
    counts = [
        (count.name, count.queries, count.misses, count.minorities, count.minorities / max(count.queries, 1))
        for count in count_failures(result, class_names, k=k)
    ]
    header = ("class", "queries", f"none of its class in {k}", f"fewer than half of {k}", "share")
    places = {int(query): place for place, query in enumerate(result.query_ids)}
    rows = []
    for query in worst_queries(result, worst, k=k):
        place = places[int(query)]
        measured = (float(result.values[name][place]) for name in (f"precision_at_{k}", "average_precision"))
        rows.append((int(query), class_names[result.query_labels[place]], *measured))
    return (
        f"{protocol.name}, by class:\n\n{table(header, counts)}\n"
        f"Worst queries, by Hit@{k}, precision@{k}, average precision:\n\n"
        + table(("id", "class", f"precision@{k}", "average precision"), rows)
    )


_LIMITS = """\
- Relevance is the class label alone: images of one class may look nothing alike, and alike ones may differ in class.
- The embedding was trained to tell these classes apart, so the figures say more about that than about similarity.
- Test and train may differ in the shares and the look of the classes, as they do for the chest X-rays, so figures of \
the two galleries are not comparable without their chance levels.
- MedMNIST carries no patient numbers: images of one patient may find each other.
- One trained model, one test split: intervals cover the choice of queries, not of training.
"""
