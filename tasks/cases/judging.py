"""Judge pictures: read, screen, classify and compare them, many at a time."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.classifier.prediction import predict
from models.errors import InputError
from models.own_encoders.table import encoder_class
from tasks.cases import sources
from tasks.cases.case import Case, SimilarCase, SimilarCases
from tasks.cases.reference import classify
from tasks.cases.screening import screen
from tasks.classification.classifier_file import LoadedClassifier, load_classifier
from tasks.classification.trust.calibration import calibrated_probabilities
from tasks.data.pictures.image_file import read_picture_file
from tasks.data.pictures.picture_facts import PictureFacts
from tasks.records.cases import PictureFile, ReferenceRecord
from tasks.records.data import CHEST_X_RAYS
from tasks.records.retrieval import SearchableRecord
from tasks.retrieval import encoders
from tasks.retrieval.settings import SPLITS
from tasks.retrieval.vectors import read_index
from tasks.shared.model_size import to_model_size
from tasks.storage.store import Store


@dataclass(frozen=True)
class ReadPicture:
    """A picture that could be read.

    Attributes:
        file: where it comes from.
        image: as the classifier sees it, shape (size, size) or (size, size, 3), 0–255.
        facts: what is known of the original.
    """

    file: PictureFile
    image: NDArray[np.uint8]
    facts: PictureFacts


def read_pictures(
    files: Sequence[PictureFile], size: int, channels: int = 1
) -> tuple[list[ReadPicture], dict[str, str]]:
    """Read files, of which only the small picture is kept.

    Args:
        files: the files.
        size: side of the pictures that the classifier reads.
        channels: 1 where it reads them in grey, 3 in colour.

    Returns:
        What could be read, and the sentence for each that could not, by digest.
    """
    pictures, problems = [], {}
    for file in files:
        try:
            picture = read_picture_file(sources.read(file), file.name, colour=channels == 3)
        except InputError as error:
            problems[file.sha256] = str(error)
        else:
            pictures.append(ReadPicture(file, to_model_size(picture.levels, size), picture.facts))
    return pictures, problems


def judge(
    files: Sequence[PictureFile], reference: ReferenceRecord, searchables: Sequence[SearchableRecord], neighbours: int
) -> list[Case]:
    """Judge files: what cannot be read becomes a case with a problem.

    Args:
        files: the files.
        reference: what they are judged by.
        searchables: the indices that are searched.
        neighbours: labelled cases per index.

    Returns:
        A case of each file, in their order.
    """
    store = Store()
    pictures, problems = read_pictures(files, reference.size, reference.channels)
    found = {file.sha256: Case(digest=file.sha256, name=file.name, problem=problems.get(file.sha256)) for file in files}
    if not pictures:
        return list(found.values())
    images = np.stack([picture.image for picture in pictures])
    known = store.get_arrays(reference.arrays)
    loaded = load_classifier(store.get(reference.classifier.weights))
    outputs = predict(loaded.model, images, loaded.normalization)
    probabilities = calibrated_probabilities(outputs.logits, reference.temperature)
    said = classify(probabilities, known, reference.threshold, reference.labels)
    facts, chest = [picture.facts for picture in pictures], reference.dataset == CHEST_X_RAYS
    screened = screen(_screening(known), images, outputs.embeddings, facts, chest_x_rays=chest)
    # As it was packed for the registry, and as the training left it.
    own = {reference.classifier.weights.sha256, loaded.card.get("weights_sha256")}
    similar = []
    for searchable in searchables:
        encoder = searchable.encoder
        is_own = encoder_class(encoder.name).is_classifier and encoder.weights[0].sha256 in own
        vectors = outputs.embeddings if is_own else encoders.load(encoder).encode_images(images)
        similar.append(_similar(store, searchable, vectors, neighbours))
    for place, picture in enumerate(pictures):
        digest = picture.file.sha256
        found[digest] = found[digest].model_copy(
            update={
                "pixels": hashlib.sha256(picture.image.tobytes()).hexdigest(),
                "height": picture.facts.height,
                "width": picture.facts.width,
                "screening": screened[place],
                "classification": said[place],
                "similar": tuple(each[place] for each in similar),
            }
        )
    return list(found.values())


def heat_maps(loaded: LoadedClassifier, images: NDArray[np.uint8], targets: NDArray[np.integer]) -> NDArray[np.float16]:
    """Map the evidence for two classes of each image.

    Args:
        loaded: the classifier.
        images: shape (images, height, width) or (images, height, width, 3), 0–255.
        targets: the classes, shape (images, 2).

    Returns:
        Shape (images, 2, height, width), in [0, 1].
    """
    from models.explanation.grad_cam import grad_cam

    maps = [grad_cam(loaded.model, images, loaded.normalization, target=column) for column in targets.T]
    return np.stack(maps, axis=1).astype(np.float16)


def explained_classes(loaded: LoadedClassifier, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Choose the classes that are explained: of two both, of more the runner-up and the likeliest.

    Args:
        loaded: the classifier.
        images: as for `heat_maps`.

    Returns:
        Shape (images, 2).
    """
    logits = predict(loaded.model, images, loaded.normalization).logits
    if logits.ndim == 1:
        return np.tile(np.arange(2), (len(images), 1))
    return np.argsort(-logits, axis=1, kind="stable")[:, 1::-1].astype(np.int64)


def _screening(known: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix("screening/"): array for name, array in known.items() if name.startswith("screening/")}


def _similar(
    store: Store, searchable: SearchableRecord, vectors: NDArray[np.floating], count: int
) -> list[SimilarCases]:
    dataset, encoder = searchable.dataset, searchable.encoder
    index = read_index(store, searchable.index)
    found = index.search(vectors, count, encoder=encoder.identity)
    cosines = index.cosines(vectors, found.ids) if found.metric == "l2" else found.similarities
    arrays = store.get_arrays(dataset.splits)
    splits = np.repeat(SPLITS, [dataset.counts[split] for split in SPLITS])
    places = np.concatenate([np.arange(dataset.counts[split]) for split in SPLITS])
    labels = np.concatenate([arrays[f"{split}_labels"] for split in SPLITS])
    return [
        SimilarCases(
            encoder=encoder.name,
            identity=encoder.identity,
            hits=tuple(
                SimilarCase(
                    split=str(splits[place]),
                    index=int(places[place]),
                    label=dataset.labels[labels[place]],
                    similarity=float(similarity),
                )
                for place, similarity in zip(ids, similarities, strict=True)
            ),
        )
        for ids, similarities in zip(found.ids, cosines, strict=True)
    ]
