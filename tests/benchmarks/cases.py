"""One's own pictures: screened, classified and compared in batches, beside one at a time; and a single one to its page.

The classifier is not trained, which takes no less time than one that is. Nothing is tracked or kept: this is what the
steps of the flow compute.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from PIL import Image

from models.classifier import weights
from models.classifier.classifiers import build_classifier
from models.classifier.preprocessing import Normalization
from models.report_generation.template import TemplateGenerator
from tasks.cases import sources
from tasks.cases.evidence import gather_evidence
from tasks.cases.judging import heat_maps, judge, read_pictures
from tasks.cases.pages import CaseView, case_page
from tasks.cases.steps.judging import prepare_reference
from tasks.classification.classifier_file import load_classifier
from tasks.classification.steps.training import predict_classifier
from tasks.data.pictures.image_file import read_picture_file
from tasks.data.steps import locate_source, prepare_dataset
from tasks.parameters.dataset import DatasetParameters
from tasks.records.cases import PictureFile, ReferenceRecord
from tasks.records.classification import ClassifierRecord
from tasks.records.data import DatasetRecord
from tasks.records.retrieval import EmbeddingsRecord, SearchableRecord
from tasks.retrieval import encoders
from tasks.retrieval.settings import SPLITS
from tasks.retrieval.steps.encoding import embed_shard
from tasks.retrieval.steps.indexing import index_embeddings
from tasks.storage.store import Store
from tests.benchmarks.comparison import Comparison

PICTURES, SINGLE, SIDE, AT_ONCE, REPEATS = 512, 32, 512, 2, 3
NEIGHBOURS = 5


def measure() -> list[Comparison]:
    """Measure the network that a quickstart trains, on pictures of 512 × 512 pixels."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUTPUTS", folder)
        patch.delenv("STORE_URI", raising=False)
        dataset, reference, searchable = _fitted("compact28")
        files = _files(Path(folder), dataset)

        def batched(some: Sequence[PictureFile]) -> None:
            with ThreadPoolExecutor(AT_ONCE) as threads:
                parts = [some[part::AT_ONCE] for part in range(AT_ONCE)]
                list(threads.map(lambda part: judge(part, reference, [searchable], NEIGHBOURS), parts))

        def one_at_a_time(some: Sequence[PictureFile]) -> None:
            for file in some:
                judge([file], reference, [searchable], NEIGHBOURS)

        batched(files[:8])  # what is loaded once
        turns = [(_timed(batched, files), _timed(one_at_a_time, files[:SINGLE])) for _ in range(REPEATS)]
        page = [_timed(lambda some: _to_its_page(some[0], reference, searchable), files[i:]) for i in range(REPEATS)]
        ours, reference_seconds = (median(each) for each in zip(*turns, strict=True))
    single = reference_seconds / SINGLE
    return [
        Comparison(
            f"a picture of {SIDE} × {SIDE} screened, classified and compared, {PICTURES} at once in {AT_ONCE} threads",
            ours / PICTURES,
            single,
            "one at a time",
            goal_ratio=20,
            goal_seconds=1 / 300,
        ),
        Comparison(
            "a single picture in a warm process, to its page with the template's report",
            median(page),
            single,
            "the same without heat maps, report and page",
            goal_ratio=0,
            goal_seconds=1.0,
        ),
    ]


def _timed(work: Callable[[Sequence[PictureFile]], None], files: Sequence[PictureFile]) -> float:
    started = time.perf_counter()
    work(files)
    return time.perf_counter() - started


def _fitted(architecture: str) -> tuple[DatasetRecord, ReferenceRecord, SearchableRecord]:
    store = Store()
    dataset = prepare_dataset.fn(locate_source(DatasetParameters()), None)
    model = build_classifier(architecture, classes=2, channels=1)  # type: ignore[arg-type]
    images = store.get_arrays(dataset.splits)["train_images"]
    normalization = Normalization(mean=(images.mean() / 255,), std=(images.std() / 255,))
    card = {
        "architecture": architecture, "classes": 2, "channels": 1, "normalization": asdict(normalization),
        "image_size": dataset.size, "labels": list(dataset.labels), "temperature": 1.0, "threshold": 0.5,
    }  # fmt: skip
    stored = store.put(weights.dump(model, card), "application/x-safetensors")
    classifier = ClassifierRecord(
        architecture=architecture, weights=stored, best_epoch=1, dataset_sha256=dataset.sha256
    )
    reference = prepare_reference.fn(dataset, classifier, predict_classifier.fn(dataset, classifier))
    encoder = encoders.describe("classifier", classifier)
    shards = {split: (embed_shard.fn(dataset, encoder, split, 0, dataset.counts[split]),) for split in SPLITS}
    dimension = shards["test"][0].shape[1]
    embeddings = EmbeddingsRecord(name="classifier", identity=encoder.identity, dimension=dimension, shards=shards)
    index = index_embeddings.fn(dataset, embeddings, "flat")
    return dataset, reference, SearchableRecord(dataset=dataset, encoder=encoder, embeddings=embeddings, index=index)


def _files(folder: Path, dataset: DatasetRecord) -> list[PictureFile]:
    """Write test images as pictures of the size that scanners export for the web."""
    images = Store().get_arrays(dataset.splits)["test_images"]
    files = []
    for place in range(PICTURES):
        path = folder / f"{place:04d}.png"
        Image.fromarray(images[place % len(images)]).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path)
        files.append(sources.identify(str(path)))
    return files


def _to_its_page(file: PictureFile, reference: ReferenceRecord, searchable: SearchableRecord) -> None:
    store = Store()
    (case,) = judge([file], reference, [searchable], NEIGHBOURS)
    (picture,), _ = read_pictures([file], reference.size)
    loaded = load_classifier(store.get(reference.classifier.weights))
    (maps,) = heat_maps(loaded, picture.image[None], np.array([[0, 1]]))
    normal, pneumonia = reference.labels
    told = [each for each in gather_evidence([case], maps[None], (normal, pneumonia)) if each is not None]
    TemplateGenerator("own pictures", reference.classifier.weights.sha256, False).generate(
        told, np.zeros((len(told), reference.size, reference.size), np.uint8)
    )
    splits = store.get_arrays(searchable.dataset.splits)
    view = CaseView(
        case=case,
        picture=read_picture_file(sources.read(file), file.name).levels,
        image=picture.image,
        heat=dict(zip(reference.labels, maps.astype(np.float64), strict=True)),
        neighbours={
            each.encoder: [splits[f"{hit.split}_images"][hit.index] for hit in each.hits] for each in case.similar
        },
        answers=[],
        claims={},
    )
    case_page(view, source={}, links={}, phantoms=False, random_weights=False)
