"""The data card: the dataset in Croissant, the vocabulary in which archives and search engines describe data sets.

Source: Croissant 1.1, https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html, and its responsible-AI part.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE
from tasks.data.audit import Audit

PUBLICATION = "Yang et al. (2023): MedMNIST v2. Scientific Data 10, 41. https://doi.org/10.1038/s41597-022-01721-8"
_LICENCES = {
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC BY-NC 4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
}
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""What every Croissant file says first, word for word."""


@dataclass(frozen=True)
class DataFacts:
    """What the card says of the images beside their audit.

    Attributes:
        name: MedMNIST flag.
        title: of exactly these images.
        description: what is published of them; of one's own data nothing.
        file: name of the file or folder.
        address: where it is published; of one's own data its name.
        official: whether it is the published file.
        phantoms: whether it is drawn.
        licence: in words.
        md5: of the file.
        sha256: of the file.
        size: side of an image in pixels.
        labels: the classes, by label.
        corrected: how many training labels a person has corrected.
    """

    name: str
    title: str
    description: str
    file: str
    address: str
    official: bool
    phantoms: bool
    licence: str
    md5: str
    sha256: str
    size: int
    labels: tuple[str, ...]
    corrected: int


def data_card(facts: DataFacts, audit: Audit) -> dict[str, Any]:
    """Describe a dataset in Croissant.

    Args:
        facts: what it is.
        audit: what is in it.

    Returns:
        JSON-LD.
    """
    origin = "as MedMNIST publishes it" if facts.official else "as its user brought it"
    notice = f"{PHANTOM_NOTICE} " if facts.phantoms else ""
    card: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": facts.name,
        "alternateName": facts.title,
        "description": f"{notice}{facts.description or f'Images in the layout of {facts.name}, {origin}.'}",
        "license": _LICENCES.get(facts.licence, facts.licence),
        "url": facts.address,
        "isLiveDataset": False,
        "keywords": [*facts.labels, "image classification", f"{facts.size}×{facts.size} pixels"],
        "rai:dataUseCases": f"Training and evaluation of classifiers. {RESEARCH_NOTICE}",
        "rai:dataLimitations": _limits(audit),
        "rai:dataBiases": _biases(audit),
        "rai:personalSensitiveInformation": "The images show patients, of whom no attributes are given."
        if not facts.phantoms
        else "None: the images are drawn.",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "file",
                "name": facts.file,
                "contentUrl": facts.address,
                "encodingFormat": "application/zip" if facts.file.endswith(".npz") else "application/octet-stream",
                "sha256": facts.sha256,
                "md5": facts.md5,
            }
        ],
        "recordSet": [_splits(audit), _classes(audit, facts.labels)],
    }
    if facts.corrected:
        card["rai:dataAnnotationProtocol"] = f"{facts.corrected} training labels were corrected by a person."
    return card | ({"citeAs": PUBLICATION} if facts.official else {})


def _limits(audit: Audit) -> list[str]:
    """Say what a user of the splits must know."""
    told = [
        f"{overlap.distinct} images occur in both {overlap.first} and {overlap.second}."
        for overlap in audit.overlaps
        if overlap.distinct
    ]
    if audit.train_shared_with_validation:
        told.append(
            f"{len(audit.train_shared_with_validation)} training images leave training, since validation has them."
        )
    if audit.contradictions:
        told.append(f"{audit.contradictions} images occur with different labels.")
    repeats = sum(split.repeats for split in audit.splits.values())
    if repeats:
        told.append(f"{repeats} images repeat an earlier one of their split, pixel for pixel.")
    return [*told, "There are no attributes of patients: whether groups are served alike cannot be measured."]


def _biases(audit: Audit) -> list[str]:
    """Say how the splits differ, in what they hold and in what it looks like."""
    train = audit.splits["train"]
    told = []
    for name, split in audit.splits.items():
        shares = ", ".join(f"{word} {share:.1%}" for word, share in split.shares.items())
        told.append(f"Shares of the classes in {name}: {shares}.")
        if split is not train:
            shifts = ", ".join(
                f"{word} {split.shift[word]:.1f} (by chance {split.shift_by_chance[word]:.1f})" for word in split.shift
            )
            told.append(f"Mean pictures of {name} differ from those of train by levels of 0–255: {shifts}.")
    return told


def _splits(audit: Audit) -> dict[str, Any]:
    rows = [{"splits/name": name, "splits/images": split.images} for name, split in audit.splits.items()]
    return _records("splits", {"name": "sc:Text", "images": "sc:Integer"}, rows, "The splits and their images.", "name")


def _classes(audit: Audit, labels: tuple[str, ...]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for label, word in enumerate(labels):
        counts: Mapping[str, int] = {f"classes/{name}": split.counts[word] for name, split in audit.splits.items()}
        rows.append({"classes/label": label, "classes/name": word, **counts})
    types = {"label": "sc:Integer", "name": "sc:Text", **dict.fromkeys(audit.splits, "sc:Integer")}
    return _records("classes", types, rows, "The classes, and how many images of each a split holds.", "label")


def _records(name: str, types: Mapping[str, str], rows: list[dict[str, Any]], said: str, key: str) -> dict[str, Any]:
    """Write a table that stands in the card itself."""
    fields = [
        {"@type": "cr:Field", "@id": f"{name}/{field}", "name": field, "dataType": kind}
        for field, kind in types.items()
    ]
    identity = {"@type": "cr:RecordSet", "@id": name, "name": name, "description": said}
    return identity | {"key": {"@id": f"{name}/{key}"}, "field": fields, "data": rows}
