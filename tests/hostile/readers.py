"""Every reader of what comes from outside, in one table: how it is called, what it may raise, and valid files for it.

A reader gets the content of a file. It accepts it, or refuses it with an error of the kinds that its callers make one
sentence of; all else is a fault. A new reader gets a row here.
"""

import asyncio
import functools
import hashlib
import io
import itertools
import json
import os
import re
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import safetensors.torch
import torch
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from torch import nn

from deployments.page.application import Asked
from deployments.page.uploads import safe_name
from models import hub, vector_index
from models.bounded_json import parse_json
from models.bounds import CORRECTIONS_BYTES, JSON_BYTES, REFERENCES_BYTES, TEXT_BYTES
from models.choices import PROBE
from models.classifier import weights
from models.classifier.classifiers import build_classifier
from models.classifier.epoch_metrics import EpochMetrics
from models.classifier.networks.probe import FrozenFeatures
from models.classifier.preprocessing import Normalization
from models.classifier.pretrained import load_backbone
from models.classifier.training_state import TrainingState
from models.encoders.checkpoint import Source
from models.errors import InputError
from models.report_generation.generator import Written
from models.report_generation.openai_server.exchange import NoCompletionError, Prompt, RefusedError, ask
from models.report_generation.parsing import UnreadableReport, read_report
from models.report_generation.prompting import FOLDER, read_strategy
from models.vector_index.storage import _DIGEST_BYTES, _LENGTHS
from tasks.cases.dicom.source import carry_patient_over, origin, read_source
from tasks.classification.classifier_file import load_classifier
from tasks.data.corrections import read_corrections
from tasks.data.pictures.image_file import read_picture_file
from tasks.data.validation import read_splits
from tasks.execution import result_records
from tasks.execution.caching import Outcome
from tasks.execution.result_records import DamagedRecordError
from tasks.parameters.check import check_parameters
from tasks.parameters.forms import FORMS
from tasks.records.base import DocumentRecord, StoredFile
from tasks.reports.audit.reference_file import read_references
from tasks.reports.jobs import Job
from tasks.retrieval.analyses.text_queries import PROMPTS, read_prompts
from tasks.retrieval.published import added_list
from tasks.storage.locations import noted_services, services_file
from tasks.storage.store import DamagedFileError, Store
from tests.hostile.mutations import (
    NASTY,
    Choice,
    Mutation,
    dicom_edited,
    edited,
    edited_start,
    json_edited,
    npy_edited,
    safetensors_edited,
    text_edited,
    zip_edited,
)
from tests.tasks.data.pictures.dicom_files import IMAGE, dicom

LABELS = {0: "normal", 1: "pneumonia"}
_ROOM = tempfile.TemporaryDirectory(prefix="hostile-")
ROOM = Path(_ROOM.name)
"""Where cases are written that are read by their path."""


@dataclass(frozen=True)
class Reader:
    """A way in.

    Attributes:
        name: what it reads.
        read: takes the content of a file.
        valid: contents that it accepts.
        mutation: what makes hostile contents of a valid one.
        refusals: the errors by which it refuses.
        share: how many cases it gets, against the others; less where one takes long.
        largest: makes the worst contents that its bound of size allows.
    """

    name: str
    read: Callable[[bytes], object]
    valid: Callable[[], Sequence[bytes]]
    mutation: Mutation = edited
    refusals: tuple[type[Exception], ...] = (InputError,)
    share: float = 1.0
    largest: Callable[[], Sequence[bytes]] = tuple


def _in_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def from_content(content: bytes) -> object:
        path = ROOM / str(os.getpid()) / name  # readers may be tried side by side
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return read(path)

    return from_content


def _filled(most: int, *wrapped: tuple[bytes, bytes, bytes]) -> Callable[[], list[bytes]]:
    """Fill files up to a bound with many of the same between a beginning and an end."""
    return lambda: [start + unit * ((most - len(start) - len(end)) // len(unit)) + end for start, unit, end in wrapped]


def _rows(most: int, start: bytes, row: str) -> bytes:
    """Fill a file up to a bound with numbered rows."""
    size = len(start) + len((row % 10_000_000).encode())
    return start + "".join(row % number for number in range((most - size) // len(row % 10_000_000))).encode()


_JSON = (b"[", b"[],", b"0]"), (b"[", b'{"":0},', b"0]"), (b"[", b"1e1,", b"0]"), (b"[", b"9" * 4000 + b",", b"0]")


def _arrays(size: int = 6) -> dict[str, np.ndarray]:
    generator, arrays = np.random.default_rng(0), {}
    for split, count in {"train": 4, "val": 2, "test": 3}.items():
        arrays[f"{split}_images"] = generator.integers(0, 256, (count, size, size), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 2).astype(np.uint8)[:, None]
    return arrays


def _npz() -> list[bytes]:
    plain, packed = io.BytesIO(), io.BytesIO()
    np.savez(plain, **_arrays())
    np.savez_compressed(packed, **_arrays())
    return [plain.getvalue(), packed.getvalue()]


def _read_dataset(content: bytes) -> None:
    splits = read_splits(content, labels=LABELS, size=6, channels=1, name="set.npz")
    assert all(splits.images(split).dtype == np.uint8 for split in ("train", "val", "test"))
    assert all(set(splits.labels(split)) == set(LABELS) for split in ("train", "val", "test"))


def _pictures(*formats: str) -> Callable[[], list[bytes]]:
    def make() -> list[bytes]:
        written = []
        for kind, mode in itertools.product(formats, ("L", "RGB")):
            file = io.BytesIO()
            Image.fromarray(IMAGE).convert(mode).save(file, kind)
            written.append(file.getvalue())
        return written

    return make


def _sixteen_bits() -> list[bytes]:
    written = []
    for kind, options in (("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("JPEG2000", {})):
        file = io.BytesIO()
        Image.fromarray(IMAGE.astype(np.uint16) * 250).save(file, kind, **options)
        written.append(file.getvalue())
    return written


def _dicom() -> list[bytes]:
    twelve = IMAGE.astype(np.uint16) * 16
    plain = dicom(
        twelve, bits=12, WindowCenter="100", WindowWidth="200", RescaleSlope="2", PixelSpacing=["1", "2"],
        PixelPaddingValue=0, PatientName="Doe^Jane", PatientID="1", StudyInstanceUID="1.2.3", NumberOfFrames="1",
        SeriesInstanceUID="1.2.4", StudyDate="20240101", PatientSex="F", SpecificCharacterSet="ISO_IR 100",
        Modality="DX", BodyPartExamined="CHEST", HighBit=11, PatientOrientation=["L", "F"],
    )  # fmt: skip
    return [_saved(plain), _saved(dicom(np.stack([IMAGE] * 3, -1), "RGB"))]


def _dicom_by_syntax() -> list[bytes]:
    written = [
        _saved(dicom(IMAGE, syntax=syntax)) for syntax in (ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
    ]
    for syntax in (RLELossless, JPEG2000Lossless, JPEGLSLossless):
        packed = dicom(IMAGE)
        if syntax == RLELossless:
            packed.compress(syntax)
        else:
            packed = _wrapped(packed, syntax)
        written.append(_saved(packed))
    return written


def _wrapped(dataset: pydicom.Dataset, syntax: pydicom.uid.UID) -> pydicom.Dataset:
    """Put a code stream of JPEG 2000 into a file, also where another is declared."""
    stream = io.BytesIO()
    Image.fromarray(IMAGE).save(stream, "JPEG2000", no_jp2=True)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = pydicom.encaps.encapsulate([stream.getvalue()])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset


def _saved(dataset: pydicom.Dataset) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _read_picture(content: bytes) -> None:
    picture = read_picture_file(content, "picture")
    assert picture.levels.ndim == 2
    assert picture.levels.dtype == np.uint8


def _read_dicom_text(content: bytes) -> None:
    source = read_source(io.BytesIO(content), "a file")
    found = origin(source, hashlib.sha256(content).hexdigest())
    assert re.fullmatch(r"[0-9.]{1,64}", found.study)
    target = pydicom.Dataset()
    carry_patient_over(source, target)
    target.file_meta = pydicom.dataset.FileMetaDataset()
    target.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    written = io.BytesIO()
    pydicom.dcmwrite(written, target, implicit_vr=False, little_endian=True)
    assert len(written.getvalue()) < 20_000


_CARD = {
    "classes": 2, "channels": 1, "normalization": {"mean": [0.5], "std": [0.2]}, "labels": ["normal", "pneumonia"],
    "temperature": 1.0, "threshold": 0.5, "image_size": 28,
}  # fmt: skip


def _probes() -> list[bytes]:
    named = {"name": "clip", "model": "owner/name", "revision": "1" * 40}
    frozen = FrozenFeatures(Source("clip", "owner/name", "1" * 40, "owner/name"), 8, Normalization((0.5,), (0.2,)))
    model = build_classifier(PROBE, classes=2, channels=1, frozen=frozen)
    return [weights.dump(model, _CARD | {"architecture": PROBE, "encoder": named | {"dimension": 8}})]


def _classifiers() -> list[bytes]:
    return [weights.dump(build_classifier("compact28", classes=2, channels=1), _CARD | {"architecture": "compact28"})]


def _backbone() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def _state_dicts() -> list[bytes]:
    new, old = io.BytesIO(), io.BytesIO()
    torch.save(_backbone().state_dict(), new)
    torch.save(_backbone().state_dict(), old, _use_new_zipfile_serialization=False)
    return [new.getvalue(), old.getvalue()]


def _tensors() -> list[bytes]:
    return [safetensors.torch.save(_backbone().state_dict(), {"format": "pt"})]


def _archive_or_bytes(choose: Choice, content: bytes) -> bytes:
    return (zip_edited() if content.startswith(b"PK") else edited)(choose, content)


_TINY = functools.partial(nn.Linear, 3, 2)


def _training() -> TrainingState:
    return TrainingState(_TINY(), weight_decay=0.1, ema_decay=0.9)  # type: ignore[arg-type]


def _checkpoints() -> list[bytes]:
    state = _training()
    for epoch in (1, 2):
        state.step(state.model(torch.ones(1, 3)).sum(), 0.1)
        state.record(EpochMetrics(epoch, 0.5, 0.1 * epoch, 0.5, 0.1, 1.0, 0))
    return [state.dump("fingerprint")]


def _restore(content: bytes) -> None:
    state = _training()
    if not state.restore(content, "fingerprint"):
        raise InputError("It is refused with a warning.")
    state.step(state.model(torch.ones(1, 3)).sum(), 0.1)
    state.record(EpochMetrics(len(state.history) + 1, 0.5, 0.1, 0.5, 0.1, 1.0, 0))


def _indices() -> list[bytes]:
    vectors = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    shard = (vectors, np.arange(60), np.arange(60) % 2)
    kinds: tuple[Any, ...] = ("flat", "hnsw", "ivf")
    return [vector_index.dump(vector_index.build([shard], encoder="e", kind=kind)) for kind in kinds]


def _read_index(content: bytes) -> None:
    index = vector_index.load(content)
    if len(index):
        query = np.ones((1, index.dimension), np.float32)
        assert index.search(query, 1, encoder=index.encoder).ids.shape == (1, 1)


def _sealed(choose: Choice, content: bytes) -> bytes:
    """Change FAISS's part, the header or the ids of an index, and write both digests anew, as an attacker would."""
    end = len(content) - _LENGTHS.size - _DIGEST_BYTES
    body, header = _LENGTHS.unpack_from(content, end)
    parts = content[:body], content[body : body + header], content[body + header : end]

    def seal(changed: bytes, which: int) -> bytes:
        faiss, head, members = (changed if place == which else part for place, part in enumerate(parts))
        if which == 0:
            head = json.dumps(json.loads(head) | {"faiss_sha256": hashlib.sha256(faiss).hexdigest()}).encode()
        tail = head + members + _LENGTHS.pack(len(faiss), len(head))
        return faiss + tail + hashlib.sha256(tail).digest()

    mutations: tuple[tuple[int, Mutation], ...] = (0, edited), (0, edited_start(200)), (1, json_edited), (2, edited)
    which, mutation = choose.of(mutations)
    return seal(mutation(choose, parts[which]), which)


_STORED = StoredFile(uri="sha256/ab/" + "a" * 64 + ".json", sha256="a" * 64, size=1, media_type="application/json")


def _results() -> list[bytes]:
    record = DocumentRecord(document=_STORED)
    metadata = {"storage_key": "key", "prefect_version": "3.8.8", "serializer": result_records.SERIALIZER.model_dump()}
    return [
        json.dumps({"metadata": metadata, "result": result_records.SERIALIZER.dumps(value).decode()}).encode()
        for value in (record, [record, None, {"a": 1}])
    ]


_STORE = functools.cache(lambda: Store("memory://hostile"))


def _stored_arrays(content: bytes) -> object:
    store = _STORE()
    store.filesystem.store.clear()
    return store.get_arrays(store.put(content, "application/x-npz"))


def _stored_json(content: bytes) -> object:
    store = _STORE()
    store.filesystem.store.clear()
    return store.get_json(store.put(content, "application/json"))


def _note(content: bytes) -> object:
    _STORE().write("ledger/note.json", content)
    return _STORE().read_note("ledger/note.json", Outcome)


def _kept(folder: str) -> Callable[[bytes], None]:
    """A row in quarantine, or a shard that is named after its content."""

    def read(content: bytes) -> None:
        store = _STORE()
        store.filesystem.store.clear()
        job = Job(store, {"model": "a"})
        store.write(f"jobs/{job.fingerprint[:16]}/{folder}/{hashlib.sha256(content).hexdigest()}.json", content)
        assert all(isinstance(row, Written) for row in job.done().values())

    return read


_ROW = Written(row_id="a", text="a report")


def _shards() -> list[bytes]:
    return [TypeAdapter(list[Written]).dump_json([_ROW])]


def _added(content: bytes) -> object:
    Store().write(added_list.NAME, content)
    return added_list.read_added_list()


def _services(content: bytes) -> object:
    services_file().parent.mkdir(parents=True, exist_ok=True)
    services_file().write_bytes(content)
    return noted_services()


_JSON_ANSWER = {
    "image_quality": "adequate", "findings": [{"name": "opacity", "presence": "present", "detail": "right lower lobe"}],
    "impression": "Pneumonia.", "differential": ["atelectasis"], "label": "pneumonia", "certainty": "high",
    "limitations": ["one view"],
}  # fmt: skip
_FREE_ANSWER = (
    "Findings:\n- Lungs: opacity in the right lower lobe.\n- Heart: normal.\nImpression: Pneumonia.\n"
    "Differential: atelectasis, effusion\nLabel: pneumonia\nCertainty: high\nLimitations: one view\n"
)


def _read_answer(output: Any) -> Callable[[bytes], None]:
    def read(content: bytes) -> None:
        found = read_report(content.decode("utf-8", "replace"), output)
        assert found.label in (None, "normal", "pneumonia")

    return read


def _completions() -> list[bytes]:
    token = {"token": "Yes", "logprob": -0.1, "top_logprobs": [{"token": "No", "logprob": -2.5}]}
    choice = {
        "message": {"role": "assistant", "content": "Yes", "refusal": None}, "finish_reason": "stop",
        "logprobs": {"content": [token]},
    }  # fmt: skip
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 0}}
    return [json.dumps({"id": "a", "choices": [choice], "usage": usage}).encode()]


def _read_completion(choices: tuple[str, str] | None) -> Callable[[bytes], None]:
    def read(content: bytes) -> None:
        async def send(_: Any) -> Any:
            try:
                return parse_json(content)  # as `Connection.chat` does
            except ValueError:
                raise RefusedError("no JSON was answered") from None

        found = asyncio.run(ask(send, "model", Prompt(text="?", choices=choices)))
        assert found.text
        assert found.probability is None or 0 <= found.probability <= 1

    return read


def _references() -> list[bytes]:
    return [b'case,reference\n0,Normal chest.\n1,"Pneumonia, right."\n']


_LABELS = np.zeros(10_000_000, np.uint8)
_LABELS[1:4:2] = 1


def _corrections(content: bytes) -> object:
    return read_corrections(content, "list.csv", _LABELS, ("normal", "pneumonia"))


def _parameters(content: bytes) -> None:
    """What arrives over HTTP: Prefect has parsed the JSON."""
    try:
        given = json.loads(content)
    except (ValueError, RecursionError):
        raise InputError("It is no JSON.") from None
    if not isinstance(given, dict):
        raise InputError("It is no object.")
    check_parameters(given, FORMS.keys())
    for name, values in given.items():
        FORMS[name].model_validate(values)


def _all_parameters() -> list[bytes]:
    required = {"search": {"image": "a.png"}, "cases": {"images": ["a.png"]}, "add": {"images": ["a.png"]}}
    given = {}
    for name, form in FORMS.items():
        try:
            given[name] = form.model_validate(required.get(name, {})).model_dump(mode="json")
        except ValidationError:
            continue
    return [json.dumps({name: values}).encode() for name, values in given.items()]


def _name(content: bytes) -> None:
    name = safe_name(content.decode("utf-8", "replace"))
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}", name, re.ASCII)


def _folder(file: str) -> Callable[[bytes], object]:
    """A checkpoint of CLIP of which one file is hostile."""

    def read(content: bytes) -> object:
        from models.encoders.loading import published_class

        folder = _clip()
        before = (folder / file).read_bytes()
        try:
            (folder / file).write_bytes(content)
            kind = published_class("clip")
            encoder = kind(kind.resolve(str(folder), None, None), device="cpu", token=None)
            return encoder.encode_images(np.zeros((1, 28, 28), np.uint8)), encoder.encode_texts(["pneumonia"])
        finally:
            (folder / file).write_bytes(before)

    return read


@functools.cache
def _clip() -> Path:
    from tests.models.encoders.twins import write_clip

    return write_clip(ROOM / f"clip-{os.getpid()}")


def _file_of_clip(file: str) -> Callable[[], list[bytes]]:
    return lambda: [(_clip() / file).read_bytes()]


def _archives() -> list[bytes]:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    return [file.getvalue()]


_DAMAGED = (InputError, DamagedFileError)
READERS: tuple[Reader, ...] = (
    Reader("dataset", _read_dataset, _npz, zip_edited(npy_edited)),
    Reader("PNG, BMP and GIF", _read_picture, _pictures("PNG", "BMP", "GIF")),
    Reader("JPEG and WebP", _read_picture, _pictures("JPEG", "WEBP")),
    Reader("JPEG 2000 and TIFF", _read_picture, _pictures("JPEG2000", "TIFF")),
    Reader("pictures of 16 bits", _read_picture, _sixteen_bits),
    Reader("DICOM", _read_picture, _dicom, dicom_edited),
    Reader("DICOM, other transfer syntaxes", _read_picture, _dicom_by_syntax, edited),
    Reader("DICOM text", _read_dicom_text, _dicom, dicom_edited),
    Reader("classifier", load_classifier, _classifiers, safetensors_edited, share=0.2),
    Reader("probe", load_classifier, _probes, safetensors_edited),
    Reader(
        "pretrained .pth",
        _in_file("case.pth", lambda path: load_backbone(_backbone(), path)),
        _state_dicts,
        _archive_or_bytes,
    ),
    Reader(
        "pretrained .safetensors",
        _in_file("case.safetensors", lambda path: load_backbone(_backbone(), path)),
        _tensors,
        safetensors_edited,
    ),
    Reader("checkpoint of a training", _restore, _checkpoints, safetensors_edited),
    Reader("index", _read_index, _indices, edited),
    Reader("index, sealed anew", _read_index, _indices, _sealed),
    Reader("result of a step", result_records.deserialize, _results, json_edited, (DamagedRecordError, ValueError)),
    Reader("arrays in the store", _stored_arrays, _npz, zip_edited(npy_edited), _DAMAGED),
    Reader("JSON in the store", _stored_json, _shards, json_edited, _DAMAGED),
    Reader("note in the store", _note, lambda: [b'["step", true, "why", 1.5, 2.5, "key"]'], json_edited),
    Reader("rows that were kept", _kept("shards"), _shards, json_edited),
    Reader("row that failed", _kept("quarantine"), lambda: [_ROW.model_dump_json().encode()], json_edited),
    Reader("list of added pictures", _added, lambda: [b'{"pictures": []}'], json_edited, share=0.3),
    Reader(
        "notes of make up", _services, lambda: [b'{"prefect": {"url": "http://127.0.0.1:1", "pid": 1}}'], json_edited
    ),
    Reader(
        "free text of a model",
        _read_answer("free_text"),
        lambda: [_FREE_ANSWER.encode()],
        text_edited,
        (UnreadableReport,),
    ),
    Reader(
        "JSON of a model",
        _read_answer("json"),
        lambda: [json.dumps(_JSON_ANSWER).encode()],
        json_edited,
        (UnreadableReport,),
    ),
    Reader(
        "completion of a server", _read_completion(None), _completions, json_edited, (RefusedError, NoCompletionError)
    ),
    Reader(
        "choice of a server",
        _read_completion(("Yes", "No")),
        _completions,
        json_edited,
        (RefusedError, NoCompletionError),
    ),
    Reader(
        "prompt strategy",
        _in_file("concise.yaml", read_strategy),
        lambda: [(FOLDER / "concise.yaml").read_bytes()],
        text_edited,
        largest=_filled(
            TEXT_BYTES,
            (b"[", b"[],", b"0]"),
            (b"", b"- a\n", b""),
            (b"a: &a b\nc: [", b"*a,", b"*a]"),
            (b"", b"[", b""),
        ),
    ),
    Reader(
        "prompts for retrieval",
        _in_file("case.json", read_prompts),
        lambda: [PROMPTS.read_bytes()],
        json_edited,
        largest=_filled(TEXT_BYTES, *_JSON),
    ),
    Reader(
        "references, CSV",
        _in_file("case.csv", lambda path: read_references(path, None)),
        _references,
        text_edited,
        largest=lambda: [
            _rows(REFERENCES_BYTES, b"case,reference\n", "%d,a\n"),
            _rows(REFERENCES_BYTES, b"", "%d,"),
            *_filled(REFERENCES_BYTES, (b"case,reference\n", b"\n", b""), (b"", b",", b"\n"))(),
        ],
    ),
    Reader(
        "references, JSON",
        _in_file("case.json", lambda path: read_references(path, 10)),
        lambda: [b'[{"case": 0, "reference": "Normal."}, {"case": 1, "reference": "Pneumonia."}]'],
        json_edited,
        largest=_filled(REFERENCES_BYTES, *_JSON),
    ),
    Reader(
        "references, JSON Lines",
        _in_file("case.jsonl", lambda path: read_references(path, None)),
        lambda: [b'{"image_sha256": "' + b"a" * 64 + b'", "reference": "Normal."}\n'],
        text_edited,
        largest=lambda: [
            _rows(REFERENCES_BYTES, b"", '{"case":%d,"reference":"a"}\n'),
            *_filled(REFERENCES_BYTES, (b"", b"\n", b""))(),
        ],
    ),
    Reader(
        "corrections",
        _corrections,
        lambda: [b"index,split,given,corrected\n0,train,normal,pneumonia\n1,train,pneumonia,\n"],
        text_edited,
        largest=lambda: [
            _rows(CORRECTIONS_BYTES, b"index,split,given,corrected\n", "%d,train,normal,\n"),
            *_filled(
                CORRECTIONS_BYTES, (b"index,split,corrected\n", b"\n", b""), (b"index,split,corrected", b",", b"")
            )(),
        ],
    ),
    Reader("parameters over HTTP", _parameters, _all_parameters, json_edited),
    Reader(
        "pictures that a page asks for",
        Asked.model_validate_json,
        lambda: [b'{"pictures": ["a/b"]}'],
        json_edited,
        (ValidationError,),
    ),
    Reader(
        "file name of an upload",
        _name,
        lambda: [name.encode("utf-8", "replace") for name in (*NASTY, "x-ray 1.png")],
        edited,
    ),
    Reader(
        "JSON of a checkpoint",
        _in_file("case.json", hub.read_json),
        lambda: [b'{"hidden_size": 3}'],
        json_edited,
        largest=_filled(JSON_BYTES, *_JSON),
    ),
    Reader(
        "safetensors of a checkpoint",
        _in_file("case.safetensors", hub.require_safetensors),
        _tensors,
        safetensors_edited,
    ),
    Reader("archive of a checkpoint", _in_file("case.bin", hub.require_archive), _archives, zip_edited()),
    *(
        Reader(f"{file} of an encoder", _folder(file), _file_of_clip(file), mutation, share=0.01)
        for file, mutation in {
            "config.json": json_edited,
            "preprocessor_config.json": json_edited,
            "tokenizer.json": json_edited,
            "tokenizer_config.json": json_edited,
            "model.safetensors": safetensors_edited,
        }.items()
    ),
)
"""The table."""
