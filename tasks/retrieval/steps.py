"""Steps of the retrieval: embed, index, search, evaluate, project, analyse, compare, plot, document; and one search.

PyTorch, FAISS, SciPy and Matplotlib take seconds to import, so each step imports what it needs when it runs: a run of
hits needs none of them.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.bounded_json import parse_json
from models.encoders.encoder import encoder_class
from models.errors import InputError
from models.text import printable
from tasks.execution.caching import step
from tasks.execution.mapping import map_step
from tasks.parameters.retrieval import RetrievalParameters
from tasks.parameters.search import SearchParameters
from tasks.records.base import ArrayRecord, DocumentRecord, FiguresRecord, FindingsRecord, StoredFile
from tasks.records.classification import ClassifierRecord, EvaluationRecord
from tasks.records.data import DatasetRecord, PictureRecord
from tasks.records.retrieval import (
    EmbeddingsRecord,
    EncoderRecord,
    IndexRecord,
    RetrievalRecord,
    SearchableRecord,
    SearchRecord,
    ShardRecord,
)
from tasks.storage.store import DamagedFileError, Store

if TYPE_CHECKING:
    from models.vector_index import Neighbours, Shard, VectorIndex
    from tasks.retrieval.metrics.chance import Protocol
    from tasks.retrieval.metrics.ranking import RankingResult

BOOTSTRAP_SEED = 0
STANDARD_K = (1, 5, 10)  # always evaluated, so that all runs can be compared
FAILURE_K = 5  # cut-off of the failure analysis: Hit@5
WORST = 50
SHARD = 8192  # images embedded at once: 16 MiB of 512-d vectors
SPLITS = ("train", "val", "test")
HARDEST = 3  # queries of each class in the comparison of ways to search
MASKED_PAIRS = 96  # query and nearest neighbour, in the check of the similarity maps


def locate_encoders(parameters: RetrievalParameters) -> list[EncoderRecord]:
    """Find the published encoders of the form, before anything is trained.

    Raises:
        InputError: one cannot be had, or an encoder is named twice.
    """
    from tasks.retrieval import encoders

    if len(set(parameters.encoders)) < len(parameters.encoders):
        raise InputError(
            f"--retrieval.encoders {', '.join(parameters.encoders)}: one is named twice; name each encoder once."
        )
    return encoders.locate(parameters)


def check_cutoffs(parameters: RetrievalParameters, smallest: int | None) -> None:
    """Refuse cut-offs that a class of the test split is too small for, before anything is trained.

    Args:
        parameters: the form.
        smallest: number of images of the smallest class of the test split, where it is known.

    Raises:
        InputError: a cut-off is larger than what is left of that class without the query itself.
    """
    largest = max(*STANDARD_K, *parameters.k_values)
    if smallest is not None and largest > smallest - 1:
        raise InputError(
            f"--retrieval.k_values: k = {largest} neighbours are more than the smallest class of the test split can "
            f"give a query, {smallest - 1}; choose smaller ones (1, 5 and 10 are always taken), or raise "
            "--dataset.limit."
        )


def own_encoder(dataset: DatasetRecord, classifier: ClassifierRecord, name: str) -> EncoderRecord:
    """Describe an encoder that is made here, once it has learnt what it learns from the training split."""
    from tasks.retrieval import encoders

    if encoder_class(name).needs_fitting:
        return fit_encoder.with_options(name=f"fit-{name}-encoder")(dataset, classifier, name)
    return encoders.describe(name, classifier)


@step
def fit_encoder(dataset: DatasetRecord, classifier: ClassifierRecord, name: str) -> EncoderRecord:
    """Let an encoder learn from the training split."""
    from tasks.retrieval import encoders

    store = Store()
    images = np.delete(store.get_arrays(dataset.splits)["train_images"], dataset.excluded_train, axis=0)
    return encoders.describe(name, classifier, store.put(encoder_class(name).fit(images), "application/x-safetensors"))


@step
def embed_shard(dataset: DatasetRecord, encoder: EncoderRecord, split: str, start: int, stop: int) -> ShardRecord:
    """Embed some images of one split."""
    from tasks.retrieval import encoders

    store = Store()
    images = store.get_arrays(dataset.splits)[f"{split}_images"][start:stop]
    vectors = encoders.load(encoder).encode_images(images)
    return ShardRecord(
        split=split,
        start=start,
        vectors=store.put_arrays({"vectors": vectors}),
        shape=vectors.shape,
        encoder=encoder.encoder,
    )


def embed_images(dataset: DatasetRecord, encoder: EncoderRecord, size: int = SHARD) -> EmbeddingsRecord:
    """Embed all images, in shards of some size, by the task runner of the flow."""
    calls = [
        {"dataset": dataset, "encoder": encoder, "split": split, "start": start, "stop": min(start + size, count)}
        for split, count in ((split, dataset.counts[split]) for split in SPLITS)
        for start in range(0, count, size)
    ]
    embedded = map_step(embed_shard, calls)
    shards = {split: tuple(shard for shard in embedded if shard.split == split) for split in SPLITS}
    return EmbeddingsRecord(
        name=encoder.name, encoder=encoder.encoder, dimension=shards["test"][0].shape[1], shards=shards
    )


@step
def index_embeddings(dataset: DatasetRecord, embeddings: EmbeddingsRecord, kind: str) -> IndexRecord:
    """Build the index over all images and that of each class, and measure how much the first one finds."""
    import time

    from models import vector_index

    store = Store()
    arrays = store.get_arrays(dataset.splits)
    offsets = _offsets(dataset)
    whole = _Shards(store, embeddings, arrays, offsets)
    started = time.perf_counter()
    index = vector_index.build(whole, encoder=embeddings.encoder, kind=kind)  # type: ignore[arg-type]  # of the form
    seconds = time.perf_counter() - started
    indices = {"all": index}
    for label, name in enumerate(dataset.labels):
        of_class = _Shards(store, embeddings, arrays, offsets, label)
        indices[name] = vector_index.build(of_class, encoder=embeddings.encoder, kind=kind)  # type: ignore[arg-type]
    payloads = {name: vector_index.dump(found) for name, found in indices.items()}
    return IndexRecord(
        encoder=embeddings.encoder,
        dimension=embeddings.dimension,
        kinds={name: found.kind for name, found in indices.items()},
        indices={name: store.put(payload, "application/octet-stream") for name, payload in payloads.items()},
        offsets=offsets,
        metrics={
            "index/recall_at_10": vector_index.recall_at(index, whole, k=10),
            "index/seconds": seconds,
            "index/mebibytes": len(payloads["all"]) / 2**20,
        },
    )


@step
def search_neighbours(
    dataset: DatasetRecord, embeddings: EmbeddingsRecord, index: IndexRecord, count: int
) -> ArrayRecord:
    """Find the nearest test and train images of each test image, without itself."""
    store = Store()
    queries = _vectors(store, embeddings, "test")
    arrays: dict[str, NDArray[Any]] = {}
    whole = _index(store, index)
    own = index.offsets["test"] + np.arange(len(queries), dtype=np.int64)
    for split in ("train", "test"):
        members = index.offsets[split] + np.arange(dataset.counts[split], dtype=np.int64)
        available = len(members) - (split == "test")
        found = whole.search(queries, min(count, available), encoder=embeddings.encoder, exclude=own, allowed=members)
        arrays |= {f"{split}_ids": found.ids - index.offsets[split], f"{split}_similarities": found.similarities}
    return ArrayRecord(arrays=store.put_arrays(arrays), shapes={name: array.shape for name, array in arrays.items()})


@step
def evaluate_retrieval(
    dataset: DatasetRecord,
    embeddings: EmbeddingsRecord,
    evaluation: EvaluationRecord,
    k_values: list[int],
    bootstrap_samples: int,
) -> RetrievalRecord:
    """Score the rankings of the test images by every protocol."""
    from tasks.retrieval.analyses.failures import worst_queries
    from tasks.retrieval.metrics import conditioned, ranking

    store = Store()
    protocols, true_class = _protocols(store, dataset, embeddings, evaluation, k_values)
    loo, gallery, by_class = protocols
    metrics: dict[str, float] = {}
    for prefix, protocol in (("loo", loo), ("gallery", gallery)):
        metrics |= ranking.summarize(protocol.result, prefix, samples=bootstrap_samples, seed=BOOTSTRAP_SEED)
        metrics |= ranking.means(protocol.chance, f"chance/{prefix}")
    metrics |= conditioned.summarize(by_class.result, true_class, samples=bootstrap_samples, seed=BOOTSTRAP_SEED)
    per_query = {
        f"{prefix}_{name}": values
        for prefix, protocol in (("loo", loo), ("gallery", gallery), ("conditioned", by_class))
        for name, values in {
            "average_precision": protocol.result.average_precision,
            "r_precision": protocol.result.r_precision,
            **{f"precision_at_{k}": found for k, found in protocol.result.precision_at.items()},
            **{f"hit_at_{k}": found for k, found in protocol.result.hit_at.items()},
        }.items()
    }
    return RetrievalRecord(
        encoder=embeddings.name,
        metrics=metrics,
        per_query=store.put_arrays(per_query),
        worst=tuple(worst_queries(loo.result, WORST, k=FAILURE_K).tolist()),
    )


@step
def compare_encoders(
    dataset: DatasetRecord,
    embeddings: list[EmbeddingsRecord],
    evaluation: EvaluationRecord,
    k_values: list[int],
    bootstrap_samples: int,
) -> FindingsRecord:
    """Compare every encoder with the first, query by query."""
    from tasks.retrieval.analyses.comparison import compare, comparison_table

    store = Store()
    protocols = {each.name: _protocols(store, dataset, each, evaluation, k_values)[0] for each in embeddings}
    baseline = embeddings[0].name
    sections, rows = [], {}
    for place, title in enumerate(("leave-one-out", "test → train")):
        results = {name: found[place].result for name, found in protocols.items()}
        differences = compare(results, baseline, samples=bootstrap_samples, seed=BOOTSTRAP_SEED)
        rows[title] = [asdict(difference) for difference in differences]
        sections.append((f"Encoders compared, {title}", comparison_table(differences, baseline)))
    return FindingsRecord(
        name="encoders", metrics={}, findings=store.put_json(rows), figures={}, sections=tuple(sections)
    )


def new_images(dataset: DatasetRecord, known: DatasetRecord) -> list[int]:
    """Find the test images that an index over other images has not seen, by their pixels.

    Args:
        dataset: the images.
        known: those that the index is over.

    Returns:
        Their positions in the test split, ascending.
    """
    if dataset.splits.sha256 == known.splits.sha256:
        return []
    store = Store()
    arrays = store.get_arrays(known.splits)
    seen = {_pixels(image) for split in SPLITS for image in arrays[f"{split}_images"]}
    test = store.get_arrays(dataset.splits)["test_images"]
    return [place for place, image in enumerate(test) if _pixels(image) not in seen]


@step
def measure_new_images(
    dataset: DatasetRecord,
    embeddings: EmbeddingsRecord,
    known: DatasetRecord,
    indexed: EmbeddingsRecord,
) -> FindingsRecord:
    """Compare new test images with those that the index in use is over, and find what that gives by chance.

    Args:
        dataset: the images, some of them new.
        embeddings: their vectors.
        known: the images that the index in use is over.
        indexed: the vectors of these, by the same encoder.
    """
    from tasks.retrieval.analyses import drift

    store, places = Store(), new_images(dataset, known)
    labels = store.get_arrays(dataset.splits)["test_labels"]
    new = drift.LabelledVectors(_vectors(store, embeddings, "test")[places], labels[places])
    arrays = store.get_arrays(known.splits)
    train, validation = (
        drift.LabelledVectors(_vectors(store, indexed, split), arrays[f"{split}_labels"]) for split in ("train", "val")
    )
    found = drift.measure_drift(train, new, validation, dataset.labels, calibrated=True)
    metrics = {"drift/new_images": float(len(places))} | drift.drift_metrics(found, "drift/new_")
    return FindingsRecord(
        name="new_images",
        metrics=metrics,
        findings=store.put_json({"places": places, "metrics": metrics}),
        figures={},
        sections=(("Drift of images that the index had not seen", drift.new_images_markdown(found, len(places))),),
    )


@step
def measure_drift(dataset: DatasetRecord, embeddings: EmbeddingsRecord) -> FindingsRecord:
    """Compare the embeddings of the test images with those of train, which the index holds."""
    from tasks.retrieval.analyses import drift

    store = Store()
    arrays = store.get_arrays(dataset.splits)
    train, test, validation = (
        drift.LabelledVectors(_vectors(store, embeddings, split), arrays[f"{split}_labels"])
        for split in ("train", "test", "val")
    )
    found = drift.measure_drift(train, test, validation, dataset.labels)
    rows = [
        {
            "name": each.name,
            "domain_auc": _finite(each.domain_auc._asdict()),
            "reference_auc": _finite(each.reference_auc._asdict()),
        }
        for each in found
    ]
    return FindingsRecord(
        name="drift",
        metrics=drift.drift_metrics(found),
        findings=store.put_json(rows),
        figures={},
        sections=(("Drift between the index and the test images", drift.drift_markdown(found)),),
    )


@step
def project_embeddings(embeddings: EmbeddingsRecord, seed: int) -> ArrayRecord:
    """Lay the test images out in the plane by t-SNE and by UMAP."""
    from tasks.retrieval import projection

    store = Store()
    arrays = projection.project(_vectors(store, embeddings, "test"), seed)
    return ArrayRecord(arrays=store.put_arrays(arrays), shapes={name: array.shape for name, array in arrays.items()})


@step
def analyse_failures(
    dataset: DatasetRecord,
    embeddings: EmbeddingsRecord,
    evaluation: EvaluationRecord,
    neighbours: ArrayRecord,
    columns: int,
    bootstrap_samples: int,
) -> FindingsRecord:
    """Look at the queries that fail: what they have in common, and whether another way to search would help them."""
    from tasks.retrieval.analyses import failure_patterns
    from tasks.retrieval.analyses.failures import failed_queries, worst_queries
    from tasks.retrieval.figures import failures

    store, phantoms = Store(), dataset.phantoms
    loo = _protocols(store, dataset, embeddings, evaluation, [FAILURE_K])[0][0].result
    arrays, called = store.get_arrays(dataset.splits), store.get_arrays(evaluation.predictions)
    found, labels = store.get_arrays(neighbours.arrays), arrays["test_labels"]
    failed = failed_queries(loo, k=FAILURE_K)
    patterns = failure_patterns.count_patterns(failed, called["predicted"] != labels, labels)
    properties = failure_patterns.image_properties(arrays["test_images"]) | {
        "confidence": called["confidence"],
        "popularity of the neighbours": failure_patterns.neighbour_popularity(found["test_ids"][:, :FAILURE_K]),
    }
    effects = failure_patterns.compare_failed(
        properties, failed, labels, samples=bootstrap_samples, seed=BOOTSTRAP_SEED
    )
    hardest = np.concatenate([worst_queries(loo, HARDEST, k=FAILURE_K, label=label) for label in (0, 1)])
    vectors = _vectors(store, embeddings, "test")
    everywhere = np.arange(len(labels), dtype=np.int64)

    def group(title: str, classes: NDArray[np.integer] | None) -> failures.NeighbourGroup:
        parts = []
        for query in hardest:
            among = everywhere if classes is None else everywhere[labels == classes[query]]
            parts.append(_exact(vectors, query, among, columns))
        near = _stack(parts)
        return failures.NeighbourGroup(title, arrays["test_images"][near.ids], labels[near.ids], near)

    pictures = {
        "hardest_queries": failures.neighbour_comparison(
            arrays["test_images"][hardest],
            hardest,
            labels[hardest],
            called["predicted"][hardest],
            [
                group("nearest of all", None),
                group("nearest of the predicted class", called["predicted"]),
                group("nearest of the true class (upper bound)", labels),
            ],
            title="The hardest queries of each class, searched in three ways",
            phantoms=phantoms,
        ),
        "failure_patterns": failures.failure_patterns(patterns, effects, k=FAILURE_K, phantoms=phantoms),
    }
    return FindingsRecord(
        name="failures",
        metrics={},
        findings=store.put_json(
            {"patterns": [asdict(each) for each in patterns], "effects": [_finite(asdict(each)) for each in effects]}
        ),
        figures=_stored(store, pictures),
        sections=(("Failure patterns", failure_patterns.patterns_markdown(patterns, effects, k=FAILURE_K)),),
    )


@step
def analyse_neighbours(
    dataset: DatasetRecord, evaluation: EvaluationRecord, neighbours: ArrayRecord, bootstrap_samples: int
) -> FindingsRecord:
    """Look at the neighbours: hubs among them, near-duplicates, and what they say about the classifier's errors."""
    from tasks.retrieval.analyses import hubness, near_duplicates, neighbour_evidence
    from tasks.retrieval.figures import analyses
    from tasks.shared.pixel_correlation import MOST_IMAGES

    store, phantoms = Store(), dataset.phantoms
    arrays, found = store.get_arrays(dataset.splits), store.get_arrays(neighbours.arrays)
    called = store.get_arrays(evaluation.predictions)
    labels, ids = arrays["test_labels"], np.arange(dataset.counts["test"], dtype=np.int64)
    bootstrap = {"samples": bootstrap_samples, "seed": BOOTSTRAP_SEED}

    hubs = hubness.measure_hubness(found["test_ids"][:, : hubness.K], ids, labels, ids, labels)
    support = neighbour_evidence.support(
        found["train_similarities"], arrays["train_labels"][found["train_ids"]], called["predicted"]
    )
    detection = neighbour_evidence.detect_errors(
        called["confidence"], support, called["predicted"] != labels, **bootstrap
    )
    pictures = {
        "hubness": analyses.hubness_overview(hubs, arrays["test_images"], phantoms=phantoms),
        "error_detection": analyses.error_detection(detection, phantoms=phantoms),
    }
    metrics = hubness.hubness_metrics(hubs) | neighbour_evidence.evidence_metrics(detection)
    sections = [
        ("Hubs", hubness.hubness_markdown(hubs)),
        ("Neighbours as evidence", neighbour_evidence.evidence_markdown(detection)),
    ]
    if sum(dataset.counts.values()) <= MOST_IMAGES:
        images = {split: arrays[f"{split}_images"] for split in SPLITS}
        pairs = near_duplicates.find_near_duplicates(images, {split: arrays[f"{split}_labels"] for split in SPLITS})
        effect = near_duplicates.measure_effect(
            found["test_ids"],
            labels[found["test_ids"]],
            ids,
            labels,
            near_duplicates.items_to_leave_out(pairs, "test", "test"),
            **bootstrap,
        )
        pictures["near_duplicates"] = analyses.near_duplicate_pairs(pairs, images, phantoms=phantoms)
        metrics |= near_duplicates.duplicate_metrics(pairs, effect)
        sections.append(("Near-duplicates", near_duplicates.duplicate_markdown(pairs, effect)))
    return FindingsRecord(
        name="neighbours",
        metrics=metrics,
        findings=store.put_json(metrics),
        figures=_stored(store, pictures),
        sections=tuple(sections),
    )


@step
def query_texts(
    dataset: DatasetRecord,
    embeddings: EmbeddingsRecord,
    encoder: EncoderRecord,
    k_values: list[int],
    bootstrap_samples: int,
) -> FindingsRecord:
    """Search the test images by the prompts of each class, and classify them by the prompts alone."""
    from models.vector_index import Neighbours
    from tasks.retrieval import encoders
    from tasks.retrieval.analyses import text_queries
    from tasks.retrieval.figures import text_queries as text_figures

    store, phantoms = Store(), dataset.phantoms
    arrays, images = store.get_arrays(dataset.splits), _vectors(store, embeddings, "test")
    labels, prompts = arrays["test_labels"], text_queries.read_prompts()
    vectors = encoders.load(encoder).encode_texts(prompts.texts)
    protocol = text_queries.evaluate_prompts(vectors, prompts.labels, images, labels, sorted({*STANDARD_K, *k_values}))
    bootstrap = {"samples": bootstrap_samples, "seed": BOOTSTRAP_SEED}
    ensemble = text_queries.zero_shot(vectors, prompts.labels, images, labels, **bootstrap)
    pairs = text_queries.zero_shot_by_pair(prompts, vectors, images, labels, **bootstrap)
    chosen = text_queries.best_and_worst(protocol.result, k=FAILURE_K)
    everywhere = np.arange(len(labels), dtype=np.int64)
    together = np.concatenate([images, vectors])
    near: Neighbours = _stack([_exact(together, len(images) + int(prompt), everywhere, FAILURE_K) for prompt in chosen])
    pictures = {
        "prompt_precision": text_figures.prompt_precision(prompts, protocol, k=FAILURE_K, phantoms=phantoms),
        "zero_shot": text_figures.zero_shot_overview(prompts, ensemble, pairs, labels, phantoms=phantoms),
        "prompt_gallery": text_figures.prompt_gallery(
            prompts,
            chosen,
            arrays["test_images"][near.ids],
            labels[near.ids],
            near,
            title="The best and the worst prompt of each class, and their nearest test images",
            phantoms=phantoms,
        ),
    }
    return FindingsRecord(
        name="texts",
        metrics=text_queries.text_metrics(protocol, ensemble, pairs),
        findings=store.put_json({"version": prompts.version, "prompts": prompts.texts}),
        figures=_stored(store, pictures),
        sections=(("Text → image", text_queries.text_markdown(prompts, protocol, ensemble, pairs, k=FAILURE_K)),),
    )


@step
def map_similarity(
    dataset: DatasetRecord,
    classifier: ClassifierRecord,
    neighbours: ArrayRecord,
    galleries: int,
    bootstrap_samples: int,
) -> FindingsRecord:
    """Show where queries and their nearest neighbours agree, and check by masking that it is so."""
    from models.classifier import weights
    from models.classifier.preprocessing import Normalization
    from models.explanation.similarity_maps import masking_drop, similarity_maps
    from tasks.retrieval.figures import similarity

    store, phantoms = Store(), dataset.phantoms
    arrays, nearest = store.get_arrays(dataset.splits), store.get_arrays(neighbours.arrays)["test_ids"][:, 0]
    images, labels = arrays["test_images"], arrays["test_labels"]
    model, card = weights.load(store.get(classifier.weights))
    normalization = Normalization(**card["normalization"])
    right, wrong = (np.flatnonzero((labels[nearest] == labels) == agree) for agree in (True, False))
    rows = max(galleries // 2, 1)
    queries = np.concatenate([_evenly(right, rows), _evenly(wrong, rows)])
    pairs = _evenly(np.arange(len(images)), MASKED_PAIRS)
    drop = masking_drop(model, images[pairs], images[nearest[pairs]], normalization)
    falls = dict(zip(drop.orders, drop.falls.mean(axis=1).tolist(), strict=True))
    pictures = {
        "similarity_maps": similarity.similarity_rows(
            images[queries],
            images[nearest[queries]],
            [f"test {query}" for query in queries],
            [f"test {neighbour}" for neighbour in nearest[queries]],
            labels[queries],
            labels[nearest[queries]],
            similarity_maps(model, images[queries], images[nearest[queries]], normalization),
            title="Where queries and their nearest test images agree",
            phantoms=phantoms,
        ),
        "similarity_masking": similarity.masking_bars(
            drop, samples=bootstrap_samples, seed=BOOTSTRAP_SEED, phantoms=phantoms
        ),
    }
    told = ", ".join(f"{order} {fall:.3f}" for order, fall in falls.items())
    return FindingsRecord(
        name="similarity",
        metrics={f"similarity_map/fall_{order.replace(' ', '_')}": fall for order, fall in falls.items()},
        findings=store.put_json({"pairs": pairs.tolist(), "share": drop.share, "falls": drop.falls.tolist()}),
        figures=_stored(store, pictures),
        sections=(
            (
                "Where they agree",
                f"The cosine of two embeddings splits exactly into contributions of places. Where {drop.share:.0%} of "
                f"the neighbour's places are replaced by the mean grey, the cosine of {len(pairs)} pairs falls by, on "
                f"average: {told}. Maps that fall no more than those of another pair show what matters to the network "
                "in general, not to this pair.\n",
            ),
        ),
    )


@step
def draw_map(
    dataset: DatasetRecord, evaluation: EvaluationRecord, neighbours: ArrayRecord, projected: ArrayRecord, name: str
) -> DocumentRecord:
    """Draw the interactive map of the test images, one page of HTML."""
    from models.vector_index import Neighbours
    from tasks.retrieval.figures.interactive_map import MapCases, interactive_map

    store = Store()
    arrays, found = store.get_arrays(dataset.splits), store.get_arrays(neighbours.arrays)
    called, plane = store.get_arrays(evaluation.predictions), store.get_arrays(projected.arrays)
    count = dataset.counts["test"]
    page = interactive_map(
        MapCases(
            images=arrays["test_images"],
            splits=["test"] * count,
            indices=np.arange(count),
            labels=arrays["test_labels"],
            points=np.arange(count),
            predicted=called["predicted"],
            confidence=called["confidence"],
            neighbours=Neighbours(found["test_similarities"][:, :FAILURE_K], found["test_ids"][:, :FAILURE_K]),
        ),
        {"t-SNE": plane["tsne"], "UMAP": plane["umap"]},
        title=f"Test images as the encoder {name} sees them",
        phantoms=dataset.phantoms,
        class_names=dataset.labels,
    )
    return DocumentRecord(document=store.put(page.encode(), "text/html"))


@step
def plot_retrieval(
    dataset: DatasetRecord,
    embeddings: EmbeddingsRecord,
    evaluation: EvaluationRecord,
    retrieval: RetrievalRecord,
    neighbours: ArrayRecord,
    projected: ArrayRecord,
    k_values: list[int],
    galleries: int,
    columns: int,
    bootstrap_samples: int,
) -> FiguresRecord:
    """Draw the figures of the stage."""
    from models.vector_index import Neighbours
    from tasks.retrieval.analyses.failures import failed_queries
    from tasks.retrieval.figures import evaluation as figures
    from tasks.retrieval.figures.projection import projection_scatter

    store, phantoms = Store(), dataset.phantoms
    protocols, _ = _protocols(store, dataset, embeddings, evaluation, k_values)
    plane, called = store.get_arrays(projected.arrays), store.get_arrays(evaluation.predictions)
    loo = protocols[0].result
    arrays, found = store.get_arrays(dataset.splits), store.get_arrays(neighbours.arrays)
    bootstrap = {"samples": bootstrap_samples, "seed": BOOTSTRAP_SEED}
    evenly = _evenly(np.arange(dataset.counts["test"]), galleries)
    worst = np.array(retrieval.worst[:galleries], dtype=np.int64)

    def show(queries: NDArray[np.int64], split: str, title: str) -> bytes:
        ids = found[f"{split}_ids"][queries, :columns]
        return figures.gallery(
            arrays["test_images"][queries],
            queries,
            arrays["test_labels"][queries],
            arrays[f"{split}_images"][ids],
            arrays[f"{split}_labels"][ids],
            Neighbours(found[f"{split}_similarities"][queries, :columns], ids),
            title=title,
            phantoms=phantoms,
        )

    pictures = {
        "precision_at_k": figures.precision_at_k_curves(protocols, **bootstrap, phantoms=phantoms),
        "map_by_class": figures.class_map_bars(protocols, **bootstrap, phantoms=phantoms),
        "projection": projection_scatter(
            plane["tsne"],
            plane["umap"],
            loo.query_labels,
            called["predicted"] == loo.query_labels,
            called["confidence"],
            failed_queries(loo, k=FAILURE_K),
            failure=f"retrieval fails (precision@{FAILURE_K} < ½)",
            phantoms=phantoms,
        ),
        "gallery_test": show(evenly, "test", "Test images, evenly spaced by index, and their nearest test images"),
        "gallery_train": show(evenly, "train", "Test images, evenly spaced by index, and their nearest train images"),
        "gallery_worst": show(worst, "test", f"Worst queries by Hit@{FAILURE_K}, and their nearest test images"),
    }
    return FiguresRecord(figures=_stored(store, pictures))


@step
def document_retrieval(
    dataset: DatasetRecord,
    encoder: EncoderRecord,
    embeddings: EmbeddingsRecord,
    evaluation: EvaluationRecord,
    index: IndexRecord,
    findings: list[FindingsRecord],
    k_values: list[int],
    bootstrap_samples: int,
) -> DocumentRecord:
    """Write the stage's report."""
    from tasks.retrieval.summary import retrieval_report

    store = Store()
    protocols, true_class = _protocols(store, dataset, embeddings, evaluation, k_values)
    text = retrieval_report(
        *protocols,
        true_class,
        encoder=f"{encoder.encoder}; {embeddings.dimension} dimensions; licence: {encoder.licence or 'unknown'}",
        index=f"{index.kinds['all']}, which finds {index.metrics['index/recall_at_10']:.1%} of the ten nearest",
        findings=[section for finding in findings for section in finding.sections],
        k=FAILURE_K,
        worst=10,
        samples=bootstrap_samples,
        seed=BOOTSTRAP_SEED,
        phantoms=dataset.phantoms,
    )
    return DocumentRecord(document=store.put(text.encode(), "text/markdown"))


def find_published(name: str) -> SearchableRecord:
    """Find the index of an encoder that searches take: that over real data, and where there is none, over phantoms.

    Raises:
        InputError: none was published.
    """
    from tasks.retrieval.published.publication import pointer

    for phantoms in (False, True):
        place = pointer(name, phantoms=phantoms)
        content = Store().read(place)
        if content is not None:
            return _searchable(content, place, name)
    raise InputError(
        f"There is no index of the encoder {name} yet: run the retrieval flow with it first, over whole data "
        f"(`python -m flows.retrieval --retrieval.encoders {name}`, or the deployment `retrieval`)."
    )


def check_search(search: SearchParameters, searchable: SearchableRecord) -> None:
    """Refuse what cannot be searched for, before any weights are loaded.

    Raises:
        InputError: there is not exactly one query, or the dataset has no such image or class.
    """
    dataset = searchable.dataset
    given = [name for name in ("index", "image", "text") if getattr(search, name) is not None]
    if len(given) != 1:
        raise InputError(
            f"A search needs exactly one of --search.index, --search.image and --search.text, but {len(given)} were "
            "given; give one."
        )
    if search.text is not None:
        if not search.text.strip():
            raise InputError("--search.text is empty: write what to look for, `chest X-ray of pneumonia` for instance.")
        encoder_class(search.encoder).require_text()
    count = dataset.counts[search.split]
    if search.index is not None and search.index >= count:
        raise InputError(
            f"--search.index {search.index}: the {search.split} split has the images 0 to {count - 1}; choose one."
        )


@step
def search_cases(searchable: SearchableRecord, search: SearchParameters, picture: PictureRecord | None) -> SearchRecord:
    """Find the cases nearest to one query."""
    from tasks.retrieval import encoders
    from tasks.retrieval.figures.search import search_gallery
    from tasks.retrieval.metrics.ranking import CLASS_NAMES
    from tasks.retrieval.search_result import Query, SearchedIndex, SearchResult, rank_hits, search_report

    store, dataset, index = Store(), searchable.dataset, searchable.index
    arrays, own, shown = store.get_arrays(dataset.splits), None, None
    if search.index is not None:
        image = shown = arrays[f"{search.split}_images"][search.index]
        query = Query.from_item(search.split, search.index, int(arrays[f"{search.split}_labels"][search.index]), image)
        vector = _vectors(store, searchable.embeddings, search.split)[search.index][None]
        own = np.array([index.offsets[search.split] + search.index], dtype=np.int64)
    elif picture is not None:
        pixels = store.get_arrays(picture.arrays)
        shown = pixels["image"]
        query = Query.from_file(picture.name, pixels["original"])
        vector = encoders.load(searchable.encoder).encode_images(shown[None])
    else:
        query = Query.from_text(search.text or "")
        vector = encoders.load(searchable.encoder).encode_texts([query.name])

    splits = np.repeat(SPLITS, [dataset.counts[split] for split in SPLITS])
    indices = np.concatenate([np.arange(dataset.counts[split]) for split in SPLITS])
    labels = np.concatenate([arrays[f"{split}_labels"] for split in SPLITS])
    label = None if search.among_class is None else CLASS_NAMES.index(search.among_class)
    among = np.isin(splits, search.among_splits) & ((label is None) | (labels == label))
    found = _index(store, index).search(
        vector, search.k, encoder=searchable.encoder.encoder, exclude=own, allowed=np.flatnonzero(among)
    )
    ids = found.ids[0]
    hits = rank_hits(found.similarities[0], ids, np.arange(len(labels)), splits.tolist(), indices, labels)
    result = SearchResult(
        query=query,
        encoder=searchable.encoder.name,
        encoder_identity=searchable.encoder.encoder,
        index=SearchedIndex(
            run_id=searchable.run_id,
            published_at=searchable.published_at,
            dataset=dataset.title,
            dataset_digest=dataset.digest,
            images=dataset.counts,
        ),
        splits=tuple(search.among_splits),
        label=label,
        k=search.k,
        hits=hits,
        phantoms=dataset.phantoms,
    )
    images = np.stack([arrays[f"{splits[place]}_images"][indices[place]] for place in ids])
    gallery = search_gallery(
        result, images, query_image=shown, original=None if picture is None else pixels["original"]
    )
    return SearchRecord(
        result=store.put(result.to_json().encode(), "application/json"),
        gallery=store.put(gallery, "image/png"),
        document=store.put(search_report(result).encode(), "text/markdown"),
    )


class _Shards:
    """Vectors with ids and labels, read from the store shard by shard each time they are gone through."""

    def __init__(
        self,
        store: Store,
        embeddings: EmbeddingsRecord,
        arrays: dict[str, NDArray[Any]],
        offsets: dict[str, int],
        label: int | None = None,
    ) -> None:
        self.store, self.embeddings, self.arrays, self.offsets, self.label = store, embeddings, arrays, offsets, label

    def __iter__(self) -> "Iterator[Shard]":
        for split in SPLITS:
            for shard in self.embeddings.shards[split]:
                vectors = self.store.get_arrays(shard.vectors)["vectors"]
                places = shard.start + np.arange(len(vectors), dtype=np.int64)
                labels = self.arrays[f"{split}_labels"][places]
                chosen = slice(None) if self.label is None else labels == self.label
                yield vectors[chosen], self.offsets[split] + places[chosen], labels[chosen]


def _offsets(dataset: DatasetRecord) -> dict[str, int]:
    """Number the images of all splits from 0, one split behind the other."""
    ends = np.cumsum([0, *(dataset.counts[split] for split in SPLITS)])
    return dict(zip(SPLITS, ends.tolist(), strict=False))


def _vectors(store: Store, embeddings: EmbeddingsRecord, split: str) -> NDArray[np.float32]:
    return np.concatenate([store.get_arrays(shard.vectors)["vectors"] for shard in embeddings.shards[split]])


def _index(store: Store, index: IndexRecord, name: str = "all") -> "VectorIndex":
    from models import vector_index

    return vector_index.load(store.get(index.indices[name]))


def _exact(vectors: NDArray[np.float32], query: int, among: NDArray[np.int64], count: int) -> "Neighbours":
    """Find the nearest of some vectors to another one of the same array, without itself."""
    from models.vector_index import Neighbours, normalize

    among = among[among != query]
    cosines = normalize(vectors[among]) @ normalize(vectors[query][None])[0]
    order = np.argsort(-cosines, kind="stable")[:count]
    return Neighbours(cosines[order][None], among[order][None])


def _stack(parts: "Sequence[Neighbours]") -> "Neighbours":
    from models.vector_index import Neighbours

    return Neighbours(
        np.concatenate([part.similarities for part in parts]), np.concatenate([part.ids for part in parts])
    )


def _protocols(
    store: Store,
    dataset: DatasetRecord,
    embeddings: EmbeddingsRecord,
    evaluation: EvaluationRecord,
    k_values: list[int],
) -> "tuple[tuple[Protocol, Protocol, Protocol], RankingResult]":
    """Rank the test images by every protocol, which takes some hundredths of a second."""
    from tasks.retrieval.metrics import chance, conditioned, ranking
    from tasks.retrieval.metrics.chance import Protocol

    arrays = store.get_arrays(dataset.splits)
    predicted = store.get_arrays(evaluation.predictions)["predicted"]
    cutoffs = sorted({*STANDARD_K, *k_values})
    vectors, labels = _vectors(store, embeddings, "test"), arrays["test_labels"]
    ids = np.arange(len(labels), dtype=np.int64)
    train_labels = arrays["train_labels"]
    train_ids = len(ids) + np.arange(len(train_labels), dtype=np.int64)  # no train image is a test image
    expected = chance.leave_one_out(labels, ids, cutoffs)
    loo = Protocol("leave-one-out", ranking.evaluate(vectors, labels, vectors, labels, ids, ids, cutoffs), expected)
    train_vectors = _vectors(store, embeddings, "train")
    gallery = Protocol(
        "test → train",
        ranking.evaluate(vectors, labels, train_vectors, train_labels, ids, train_ids, cutoffs),
        chance.from_gallery(labels, ids, train_labels, cutoffs),
    )
    by_class = [
        conditioned.evaluate(vectors, labels, classes, vectors, labels, ids, ids, cutoffs)
        for classes in (predicted, labels)
    ]
    return (loo, gallery, Protocol("predicted class", by_class[0], expected)), by_class[1]


def _evenly(places: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """Choose places evenly spaced, all where there are fewer."""
    if not len(places):
        return np.empty(0, dtype=np.int64)
    return places[np.linspace(0, len(places) - 1, min(count, len(places))).astype(np.int64)].astype(np.int64)


def _stored(store: Store, pictures: dict[str, bytes]) -> dict[str, StoredFile]:
    return {name: store.put(png, "image/png") for name, png in pictures.items()}


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is not defined, which JSON cannot say."""
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value for name, value in values.items()
    }


def _pixels(image: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(f"{image.shape}".encode() + np.ascontiguousarray(image).tobytes()).digest()


def _searchable(content: bytes, place: str, name: str) -> SearchableRecord:
    """Read what was published of an encoder.

    Raises:
        InputError: it is damaged, or a file that a search needs is.
    """
    try:
        found = SearchableRecord.model_validate(parse_json(content))
        _require_whole(found)
    except (DamagedFileError, KeyError, ValueError) as error:
        raise InputError(
            f"The index that {place} in the store names is damaged ({printable(error)}): run the retrieval "
            f"flow again (`python -m flows.retrieval --retrieval.encoders {name}`, or the deployment `retrieval`)."
        ) from error
    return found


def _require_whole(searchable: SearchableRecord) -> None:
    """Compare what is published with the files that it names.

    Raises:
        DamagedFileError: a file is damaged or missing.
        ValueError: the files do not belong to each other.
    """
    store, dataset = Store(), searchable.dataset
    for file in searchable.stored_files():
        store.get(file)
    arrays = store.get_arrays(dataset.splits)
    images = {split: len(arrays[f"{split}_labels"]) for split in SPLITS}
    vectors = {split: sum(shard.shape[0] for shard in searchable.embeddings.shards[split]) for split in SPLITS}
    if not images == vectors == dataset.counts or searchable.index.offsets != _offsets(dataset):
        raise ValueError("images, vectors and index do not belong to each other")
