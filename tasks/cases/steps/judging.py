"""Steps that judge pictures: what they are judged by, and the cases that come of them, each picture once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from prefect.task_runners import TaskRunner

from tasks.cases.case import Case
from tasks.cases.stored_cases import CASES, load_cases, store_cases
from tasks.execution import progress
from tasks.execution.caching import step
from tasks.execution.fingerprint import fingerprint
from tasks.execution.mapping import map_step
from tasks.records.base import ArrayRecord, ProgressReference
from tasks.records.cases import JudgedRecord, PictureFile, PicturesRecord, ReferenceRecord
from tasks.records.classification import ClassifierRecord, PredictionsRecord
from tasks.records.data import DatasetRecord
from tasks.records.retrieval import SearchableRecord
from tasks.storage.finished_rows import FinishedRows
from tasks.storage.locations import locks
from tasks.storage.store import Store

_FEWEST = 16  # pictures of a task: fewer are not worth one


@step
def prepare_reference(
    dataset: DatasetRecord,
    classifier: ClassifierRecord,
    predictions: PredictionsRecord,
    corrupted: ArrayRecord | None = None,
) -> ReferenceRecord:
    """Gather what a picture is judged by: the classifier, its scores of validation, and what its images are like.

    With corrupted copies of validation images, conformal sets are calibrated on these.
    """
    from models.classifier import weights
    from tasks.cases.screening import fit_screening
    from tasks.classification.trust.calibration import calibrated_probabilities

    store = Store()
    _, card = weights.load(store.get(classifier.weights))
    outputs, splits = store.get_arrays(predictions.outputs), store.get_arrays(dataset.splits)
    train_images = np.delete(splits["train_images"], dataset.excluded_train, axis=0)
    fitted = fit_screening(train_images, outputs["train_embeddings"], splits["val_images"], outputs["val_embeddings"])
    arrays = {
        "val_probabilities": calibrated_probabilities(outputs["val_logits"], card["temperature"]),
        "val_labels": outputs["val_labels"],
        **({} if corrupted is None else _stand_in(store.get_arrays(corrupted.arrays), outputs, card["temperature"])),
        **{f"screening/{name}": array for name, array in fitted.items()},
    }
    return ReferenceRecord(
        classifier=classifier,
        labels=dataset.labels,
        size=dataset.size,
        temperature=card["temperature"],
        threshold=card["threshold"],
        arrays=store.put_arrays(arrays),
        channels=dataset.channels,
        dataset=dataset.name,
    )


def _stand_in(
    corrupted: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]], temperature: float
) -> dict[str, NDArray[Any]]:
    """Line up the corrupted copies of validation images, one after the other."""
    from tasks.classification.trust.calibration import calibrated_probabilities

    logits = corrupted["logits"]
    return {
        "set_probabilities": calibrated_probabilities(logits.ravel(), temperature),
        "set_labels": np.tile(outputs["val_labels"][corrupted["images"]], logits[..., 0].size),
    }


@step
def judge_pictures(
    files: PicturesRecord,
    reference: ReferenceRecord,
    searchables: list[SearchableRecord],
    neighbours: int,
    shown: ProgressReference,
) -> JudgedRecord:
    """Read, screen, classify and compare some pictures, and keep what came of each."""
    from tasks.cases.judging import judge

    store = Store()
    cases = judge(files.files, reference, searchables, neighbours)
    _finished(store, reference, searchables, neighbours).write([case for case in cases if case.problem is None])
    progress.advance(shown, len(cases))
    return store_cases(store, cases)


def judge_each(
    files: Sequence[PictureFile],
    reference: ReferenceRecord,
    searchables: list[SearchableRecord],
    neighbours: int,
    *,
    batch_size: int,
    at_once: int,
    runner: TaskRunner[Any],
) -> list[Case]:
    """Judge pictures, and none that was judged before in the same way, whichever run did it.

    Two runs take turns, a few batches each, so that none computes what the other does, and a short one need not wait
    for a long one. What cannot be read is tried again by each run.

    Args:
        files: the files, each picture once.
        reference: what they are judged by.
        searchables: the indices that are searched.
        neighbours: labelled cases per index.
        batch_size: pictures per task.
        at_once: tasks at the same time.
        runner: what runs them.

    Returns:
        A case of each file, in their order, under the file's present name.
    """
    store = Store()
    finished = _finished(store, reference, searchables, neighbours)
    found: dict[str, Case] = {}
    locks().mkdir(parents=True, exist_ok=True)
    with progress.shown("pictures", len(files)) as shown:
        for group in _parts(files, batch_size * at_once):
            with FileLock(locks() / f"{finished.place.replace('/', '-')}.lock"):
                found |= {case.digest: case for case in finished.read_new()}
                missing = [file for file in group if file.sha256 not in found]
                progress.advance(shown, len(group) - len(missing))
                calls = [
                    {
                        "files": PicturesRecord(files=tuple(part)),
                        "reference": reference,
                        "searchables": searchables,
                        "neighbours": neighbours,
                        "shown": shown,
                    }
                    for part in _parts(missing, max(_FEWEST, -(-len(missing) // at_once)))
                ]
                for judged in map_step(judge_pictures, calls, runner):
                    found |= {case.digest: case for case in load_cases(store, judged)}
    return [found[file.sha256].model_copy(update={"name": file.name}) for file in files]


def _finished(
    store: Store, reference: ReferenceRecord, searchables: Sequence[SearchableRecord], neighbours: int
) -> FinishedRows[Case]:
    from tasks.cases.judging import judge

    identity: dict[str, Any] = {
        "reference": reference.content_digest(),
        "searchables": [each.content_digest() for each in searchables],
        "neighbours": neighbours,
        **fingerprint(judge)._asdict(),
    }
    return FinishedRows(store, "cases", identity, CASES)


def _parts(files: Sequence[PictureFile], size: int) -> list[Sequence[PictureFile]]:
    return [files[first : first + size] for first in range(0, len(files), size)]
