"""What one search found: as a record, as JSON and as markdown."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, computed_field

from models.choices import EncoderName, Similarity, Split
from models.errors import InputError
from models.notices import RESEARCH_NOTICE
from tasks.records.data import CHEST_X_RAYS
from tasks.records.retrieval import AddedCase
from tasks.shared.markdown import document, table

ADDED: Literal["added"] = "added"
UNLABELLED = "unlabelled"

_LIMITS = (
    "Similarity is the cosine of embeddings, from -1 to 1, distance the Euclidean one, from 0: it ranks the cases of "
    "one search, is no probability, and must not be compared between encoders. The labels are those of the "
    "dataset{of}; those of added pictures are what was said when they were added. Cases that look alike do not prove "
    "that the query has their finding."
)
_CHILDREN = ", children aged one to five from one hospital"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Query(_Part):
    """What was searched for.

    Attributes:
        kind: an item of the dataset ("index"), an image file ("image") or a text ("text").
        name: `SPLIT #INDEX`, the file's name without its folders, or the text.
        digest: SHA-256 of the pixels that were embedded, or of the text.
        split: of an item of the dataset; else None.
        index: its place in the split; else None.
        label: its class; None where it is not known.
    """

    kind: Literal["index", "image", "text"]
    name: str
    digest: str
    split: Split | None = None
    index: int | None = None
    label: int | None = None

    @classmethod
    def from_item(cls, split: Split, index: int, label: int, image: NDArray[np.uint8]) -> "Query":
        """Describe an item of the dataset.

        Args:
            split: the split it lies in.
            index: its place there.
            label: its class.
            image: its pixels, shape (height, width).

        Returns:
            The query.
        """
        name = f"{split} #{index}"
        return cls(kind="index", name=name, digest=pixel_digest(image), split=split, index=index, label=label)

    @classmethod
    def from_file(cls, path: str | Path, image: NDArray[np.uint8]) -> "Query":
        """Describe an image file.

        Args:
            path: the file; only its name is kept, since folders may name a patient or a person.
            image: what was embedded, shape (height, width).

        Returns:
            The query.
        """
        return cls(kind="image", name=Path(path).name, digest=pixel_digest(image))

    @classmethod
    def from_text(cls, text: str) -> "Query":
        """Describe a text.

        Args:
            text: the text; white space at its ends is left out, within it each run becomes one space.

        Returns:
            The query, whose name is what to embed.

        Raises:
            InputError: there is no letter and no digit in it.
        """
        name = " ".join(text.split())
        if not any(map(str.isalnum, name)):
            raise InputError(
                "The text to search for is empty, but words were expected; describe a finding, as in 'lobar opacity'."
            )
        return cls(kind="text", name=name, digest=hashlib.sha256(name.encode()).hexdigest())


class Hit(_Part):
    """One case that was found.

    Attributes:
        rank: 1 is the most similar.
        split: the split it lies in, or that it was added.
        index: its place there.
        label: its class; None where it was added without one.
        similarity: cosine with the query; None where the index goes by the distance.
        distance: Euclidean distance of its embedding from the query's; None where the index goes by the cosine.
        name: what it was added as; None in a split.
        digest: SHA-256 of the pixels of what was added; None in a split.
    """

    rank: int
    split: Split | Literal["added"]
    index: int
    label: int | None
    similarity: float | None = None
    distance: float | None = None
    name: str | None = None
    digest: str | None = None

    @property
    def closeness(self) -> str:
        """How near it is, with three decimals: its similarity, or its distance."""
        return f"{self.distance if self.similarity is None else self.similarity:.3f}"

    @property
    def title(self) -> str:
        """What it is called: `test #7`, or `added: scan.dcm`."""
        return f"{self.split} #{self.index}" if self.name is None else f"{ADDED}: {self.name}"


class SearchedIndex(_Part):
    """What was searched.

    Attributes:
        run_id: MLflow run that built the index; empty where an earlier version of this program published it.
        published_at: when searches began to take it, UTC in ISO format; empty likewise.
        dataset: name of the images that it is over, with the limit where they are a part of the data.
        dataset_digest: digest of the same.
        images: their number, by split.
        added: number of pictures that were added since and were searched too.
    """

    run_id: str
    published_at: str
    dataset: str
    dataset_digest: str
    images: dict[Split, int]
    added: int = 0

    def __str__(self) -> str:
        """Name it in one sentence."""
        parts = ", ".join(f"{count} {split}" for split, count in self.images.items())
        run = f"of the MLflow run {self.run_id}, published {self.published_at}" if self.run_id else "of an unnamed run"
        since = f", and {self.added} added" if self.added else ""
        return f"Searched: the index {run}, over {sum(self.images.values())} images of {self.dataset} ({parts}){since}."


class SearchResult(_Part):
    """What one search found.

    Attributes:
        query: what was searched for.
        encoder: name of the encoder.
        encoder_identity: what exactly made the vectors.
        index: what was searched: run, dataset, number of images.
        class_names: names of the classes, by label.
        splits: the splits that were searched.
        label: the one class that was searched; None for all.
        k: how many cases were asked for.
        measure: by what they are near: "similarity", the cosine, or "distance".
        diversity: how much cases were preferred that are unlike those before them, from 0 to 1.
        hits: the cases, most similar first.
        phantoms: whether the data are drawn phantoms.
        notice: what this may not be used for.
    """

    query: Query
    encoder: EncoderName
    encoder_identity: str
    index: SearchedIndex
    class_names: tuple[str, ...]
    splits: tuple[Split, ...]
    label: int | None
    k: int = Field(ge=1)
    measure: Literal["similarity", "distance"] = "similarity"
    diversity: float = Field(0.0, ge=0, le=1)
    hits: tuple[Hit, ...] = Field(min_length=1)
    phantoms: bool
    notice: str = RESEARCH_NOTICE

    @computed_field  # type: ignore[prop-decorator]
    @property
    def class_shares(self) -> dict[str, float]:
        """Share of each class among the hits that have a label, in [0, 1]; 0 where none has one."""
        labels = [hit.label for hit in self.hits if hit.label is not None]
        return {name: labels.count(label) / max(1, len(labels)) for label, name in enumerate(self.class_names)}

    def label_of(self, hit: Hit) -> str:
        """Name the class of a hit, or say that it has none."""
        return UNLABELLED if hit.label is None else self.class_names[hit.label]

    def to_json(self) -> str:
        """Write the result as JSON with the shares of the classes, indented."""
        return self.model_dump_json(indent=2, ensure_ascii=True)


def rank_hits(
    similarities: NDArray[np.floating],
    ids: NDArray[np.int64],
    gallery_ids: NDArray[np.int64],
    splits: Sequence[Split | Literal["added"]],
    indices: NDArray[np.integer],
    labels: NDArray[np.integer],
    added: Sequence[AddedCase] = (),
    metric: Similarity = "cosine",
) -> tuple[Hit, ...]:
    """Name the neighbours of one query.

    Args:
        similarities: as `Neighbours` holds them, shape (k,).
        ids: ids of the neighbours in the index, shape (k,).
        gallery_ids: the id of every item of the index, in any order, shape (items,).
        splits: the split of each item, likewise `items` of them.
        indices: its place in the split, shape (items,).
        labels: its class, shape (items,); -1 where it has none.
        added: what was added, in the order of its indices.
        metric: by which the neighbours are near.

    Returns:
        The hits.

    Raises:
        InputError: the index gave an id that the items do not have.
    """
    rows = {int(item): row for row, item in enumerate(gallery_ids)}
    if unknown := [int(item) for item in ids if int(item) not in rows]:
        raise InputError(
            f"The index gave the id {unknown[0]}, which no item of the dataset has; build the index again from it."
        )
    return tuple(
        Hit(
            rank=rank,
            split=splits[row],
            index=int(indices[row]),
            label=None if labels[row] < 0 else int(labels[row]),
            similarity=float(similarity) if metric == "cosine" else None,
            distance=None if metric == "cosine" else abs(float(similarity)),
            name=added[indices[row]].name if splits[row] == ADDED else None,
            digest=added[indices[row]].digest if splits[row] == ADDED else None,
        )
        for rank, (row, similarity) in enumerate(zip((rows[int(item)] for item in ids), similarities, strict=True), 1)
    )


def search_report(result: SearchResult) -> str:
    """Write a result for the page of its run.

    Args:
        result: what was found.

    Returns:
        Markdown.
    """
    rows = [(hit.rank, hit.title, result.label_of(hit), hit.closeness) for hit in result.hits]
    sections = [
        ("Query", _query(result)),
        ("Nearest cases", f"{describe_shares(result)}\n\n{table(('rank', 'case', 'label', result.measure), rows)}"),
        ("Limits", _LIMITS.format(of=_CHILDREN if result.index.dataset.startswith(CHEST_X_RAYS) else "")),
    ]
    return document("Similar cases", sections, phantoms=result.phantoms)


def describe_shares(result: SearchResult) -> str:
    """Say in one sentence how many hits are of which class. Those without a label are not counted, which it says.

    Args:
        result: what was found.

    Returns:
        The sentence.
    """
    if result.label is not None:
        return f"Only {result.class_names[result.label]} cases were searched, so every case found has this label."
    labels = [hit.label for hit in result.hits if hit.label is not None]
    without = len(result.hits) - len(labels)
    if len(result.hits) == 1:
        return "The nearest case is " + (f"labelled {result.class_names[labels[0]]}." if labels else "unlabelled.")
    two = len(result.class_names) == 2
    counts = [
        f"{labels.count(label)} {name}" for label, name in enumerate(result.class_names) if two or label in labels
    ]
    listed = " and ".join(filter(None, [", ".join(counts[:-1]), *counts[-1:]])) or "none"
    told = f"Labels of the {len(result.hits)} nearest cases: {listed}"
    return f"{told}; {without} unlabelled, not counted." if without else f"{told}."


def _query(result: SearchResult) -> str:
    query = result.query
    kinds = {"index": "dataset item", "image": "image file", "text": "text"}
    rows = [(kinds[query.kind], query.name)]
    if query.label is not None:
        rows.append(("its label", result.class_names[query.label]))
    rows += [
        ("SHA-256", query.digest),
        ("encoder", result.encoder),
        ("encoder identity", result.encoder_identity),
        ("index of the MLflow run", result.index.run_id or "unnamed"),
        ("published", result.index.published_at or "unknown"),
        ("over", f"{result.index.dataset}, digest {result.index.dataset_digest}"),
        ("images", ", ".join(f"{count} {split}" for split, count in result.index.images.items())),
        *([("added since", str(result.index.added))] if result.index.added else []),
        ("searched in", ", ".join(result.splits)),
        ("classes", "all" if result.label is None else result.class_names[result.label]),
        ("cases asked for", str(result.k)),
        *([("diversity", f"{result.diversity:g}")] if result.diversity else []),
    ]
    return table(("", "value"), rows)


def pixel_digest(image: NDArray[np.uint8]) -> str:
    """Take the digest by which a picture is known, whatever format its file has.

    Args:
        image: grey levels, shape (height, width), or colours, shape (height, width, 3).

    Returns:
        SHA-256 of shape and pixels, hexadecimal.
    """
    return hashlib.sha256(f"{image.shape}".encode() + np.ascontiguousarray(image).tobytes()).hexdigest()
