"""How to search for similar cases and judge the search."""

from typing import Annotated, Any, Literal

from pydantic import Field

from models.choices import (
    ENCODERS,
    INDEX_KINDS,
    PUBLISH,
    SIMILARITIES,
    EncoderName,
    IndexKind,
    Publish,
    Similarity,
    described,
)
from models.encoders.published import PublishedEncoder
from models.own_encoders.table import encoder_class
from tasks.parameters.base import Parameters


def _checkpoint(name: EncoderName, title: str) -> Any:
    """Make the field, named like a published encoder, that lets another checkpoint take the place of its own."""
    kind = encoder_class(name)
    assert issubclass(kind, PublishedEncoder)
    return Field(kind.model, min_length=1, title=title, description=f"Hub id of {kind.layout.title}, or its folder.")


class RetrievalParameters(Parameters):
    """How to search for similar cases and judge the search."""

    encoders: list[EncoderName] = Field(
        ["classifier", "metric"],
        min_length=1,
        max_length=len(ENCODERS),
        title="Encoders",
        description=described("What turns images into vectors", ENCODERS) + " Each gets its own MLflow run; the others "
        "are compared with the first, whose neighbours the reports cite.",
    )
    classifier: str = Field(
        "train",
        min_length=1,
        title="Classifier",
        description="`train` uses the classifier of the forms above, trained if necessary; `champion` the registered "
        "champion; the id of an MLflow run the classifier that this run registered.",
    )
    index: Literal["auto", IndexKind] = Field(
        "auto",
        title="Index",
        description=described("Vector index, which `auto` chooses by the number of vectors", INDEX_KINDS),
    )
    similarity: Similarity = Field(
        "cosine",
        title="Similarity",
        description=described("How vectors are compared in indices and rankings", SIMILARITIES) + " Projections and "
        "texts are compared by the cosine.",
    )
    publish: Publish = Field(
        "if_no_worse", title="Publish", description=described("Whether searches use this index from now on", PUBLISH)
    )
    k_values: list[Annotated[int, Field(ge=1, le=200)]] = Field(
        [1, 5, 10], min_length=1, max_length=10, title="k", description="Cut-offs k of precision@k and hit@k."
    )
    bootstrap_samples: int = Field(
        1000, ge=50, le=100_000, title="Bootstrap samples", description="Resamples per 95 % confidence interval."
    )
    galleries: int = Field(
        8, ge=1, le=40, title="Gallery rows", description="Queries shown with their neighbours, and as many failures."
    )
    neighbours: int = Field(5, ge=1, le=20, title="Gallery columns", description="Neighbours shown per query.")
    projection_seed: int = Field(
        0,
        ge=0,
        le=2**31 - 1,
        title="Projection seed",
        description="Seed of t-SNE and UMAP, which are for display only.",
    )
    clip: str = _checkpoint("clip", "CLIP")
    pubmedclip: str = _checkpoint("pubmedclip", "PubMedCLIP")
    biomedclip: str = _checkpoint("biomedclip", "BiomedCLIP")
    rad_dino: str = _checkpoint("rad_dino", "RAD-DINO")
    medsiglip: str = _checkpoint("medsiglip", "MedSigLIP")
    device: Literal["cpu", "cuda"] = Field("cpu", title="Device", description="Device of the published networks.")
