"""What the steps of the retrieval hand on."""

from typing import Annotated

from pydantic import AliasChoices, Field

from models.choices import Similarity
from tasks.records.base import ArrayRecord, Record, RunReference, StoredFile, provenance
from tasks.records.data import DatasetRecord

Identity = Annotated[str, Field(validation_alias=AliasChoices("identity", "encoder"))]
"""Name of an encoder, its source and its revision or digest; only vectors of the same identity may be compared. Indices
that were published by earlier versions call it `encoder`."""


class EncoderRecord(Record):
    """What turns images into vectors, and some of them texts.

    Attributes:
        name: of the encoder, `classifier` for instance.
        identity: name, source and revision or digest.
        weights: the files it is made of, where they are in the store.
        model: hub id or folder of a published network, else empty.
        revision: its commit, or the digest of the folder's files.
        reads_text: whether it turns texts into vectors too.
        licence: under which its weights may be used.
        path: folder with the files of a published network, or its hub id while they are still to be downloaded.
        device: where it computes.
        random_weights: whether its weights say of themselves that they were never trained.
    """

    name: str
    identity: Identity
    weights: tuple[StoredFile, ...] = ()
    model: str = ""
    revision: str = ""
    reads_text: bool = False
    licence: str
    path: str = provenance("")
    device: str = provenance("cpu")
    random_weights: bool = provenance(False)


class ShardRecord(Record):
    """Vectors of some images of one split, one behind the other.

    Attributes:
        split: the split.
        start: position of the first in the split.
        vectors: npz with `vectors` (N, dimension), not normalised.
        shape: of the vectors.
        identity: of the encoder that made them.
    """

    split: str
    start: int
    vectors: StoredFile
    shape: tuple[int, int]
    identity: Identity


class EmbeddingsRecord(Record):
    """Vectors of all images.

    Attributes:
        name: of the encoder.
        identity: of the encoder.
        dimension: length of a vector.
        shards: parts of each split, in order.
        similarity: by which they are compared.
    """

    name: str
    identity: Identity
    dimension: int
    shards: dict[str, tuple[ShardRecord, ...]]
    similarity: Similarity = "cosine"


class IndexRecord(Record):
    """Vector indices.

    Attributes:
        identity: of the encoder that made the vectors.
        dimension: length of a vector.
        kinds: `flat`, `hnsw` or `ivf` by name of the index.
        indices: the index by name: `all`, and one per class under the name of the class; each is over all splits.
        offsets: id of the first image of each split; its others follow.
        metrics: `index/…`: how many of the true neighbours an index finds, and what it takes.
    """

    identity: Identity
    dimension: int
    kinds: dict[str, str]
    indices: dict[str, StoredFile]
    offsets: dict[str, int]
    metrics: dict[str, float] = provenance({})


class RetrievalRecord(Record):
    """Retrieval metrics with their intervals.

    Attributes:
        encoder: name of the encoder.
        metrics: `loo/…`, `gallery/…`, `conditioned/…`, `chance/…`.
        per_query: npz of the values behind them, one per test image.
        worst: ids of the worst queries, worst first.
    """

    encoder: str
    metrics: dict[str, float]
    per_query: StoredFile
    worst: tuple[int, ...]


class RetrievalResult(Record):
    """What the retrieval flow hands on.

    Attributes:
        flow_run_id: Prefect flow run.
        run: MLflow run.
        retrieval: metrics.
        embeddings: the vectors.
        neighbours: npz with `{split}_ids` and `{split}_similarities` of the nearest train and test images of each
            test image.
        index: the vector indices.
        figures: PNG by name, those of the findings included.
        flow_run_ids: Prefect flow runs of all encoders, this one's first.
    """

    flow_run_id: str
    run: RunReference
    retrieval: RetrievalRecord
    embeddings: EmbeddingsRecord
    neighbours: ArrayRecord
    index: IndexRecord
    figures: dict[str, StoredFile] = provenance({})
    flow_run_ids: tuple[str, ...] = provenance(())


class AddedCase(Record):
    """A picture that was added to what searches find.

    Attributes:
        digest: SHA-256 of its pixels, as `tasks.retrieval.search_result.pixel_digest` takes it.
        name: of its file, without its folders.
        label: its class; None where it is not known.
        added_at: when, UTC in ISO format.
    """

    digest: str
    name: str
    label: str | None = None
    added_at: str = provenance("")


class AddedPicture(AddedCase):
    """The same with its pixels.

    Attributes:
        arrays: npz with `original`, as the file has it, uint8, shape (height, width).
    """

    arrays: StoredFile


class AddedPicturesRecord(Record):
    """All that was added, whichever encoders have an index.

    Attributes:
        pictures: in the order in which they were added, each digest once.
    """

    pictures: tuple[AddedPicture, ...] = ()


class AddedVectorsRecord(Record):
    """Some added pictures as one encoder sees them.

    Attributes:
        cases: the pictures, in the order of the rows.
        arrays: npz with `vectors` (N, dimension), not normalised, and `images` (N, size, size) uint8.
    """

    cases: tuple[AddedCase, ...]
    arrays: StoredFile


class SearchableRecord(Record):
    """What a search needs: the images, and an encoder with its index over them.

    Attributes:
        dataset: the images.
        encoder: the encoder.
        embeddings: its vectors.
        index: its indices.
        run_id: MLflow run that built it; empty in a record of an earlier version of this program.
        published_at: when searches began to take it, UTC in ISO format; empty before.
        added: what was added to the images since, in parts.
    """

    dataset: DatasetRecord
    encoder: EncoderRecord
    embeddings: EmbeddingsRecord
    index: IndexRecord
    run_id: str = ""
    published_at: str = ""
    added: tuple[AddedVectorsRecord, ...] = ()

    def same_content(self, other: "SearchableRecord") -> bool:
        """Tell whether another one is the same but for run and moment and for what was added since."""
        parts = ("dataset", "encoder", "embeddings", "index")
        return all(getattr(self, part).content_digest() == getattr(other, part).content_digest() for part in parts)


class SearchRecord(Record):
    """What a search found.

    Attributes:
        result: JSON: the query, the images found with their labels and similarities, and the notice.
        gallery: PNG.
        document: markdown.
    """

    result: StoredFile
    gallery: StoredFile
    document: StoredFile
