"""How to search for similar cases and judge the search."""

from typing import Annotated, Literal

from pydantic import Field

from models.choices import INDEX_KINDS, PUBLISH, IndexKind, Publish, described
from models.encoders.catalogue import EncoderName
from tasks.parameters.base import Parameters


class RetrievalParameters(Parameters):
    """How to search for similar cases and judge the search."""

    encoders: list[EncoderName] = Field(
        ["classifier", "metric"],
        min_length=1,
        max_length=5,
        title="Encoders",
        description="What turns images into vectors: the classifier without its head, the same tuned for search, or "
        "published networks that also read texts. Each gets its own MLflow run; the others are compared with the "
        "first, whose neighbours the reports cite.",
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
        0, ge=0, lt=2**31, title="Projection seed", description="Seed of t-SNE and UMAP, which are for display only."
    )
    clip: str = Field(
        "openai/clip-vit-base-patch32", min_length=1, title="CLIP", description="Hub id of a CLIP model, or its folder."
    )
    pubmedclip: str = Field(
        "flaviagiammarino/pubmed-clip-vit-base-patch32",
        min_length=1,
        title="PubMedCLIP",
        description="Hub id of a CLIP model, or its folder.",
    )
    biomedclip: str = Field(
        "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        min_length=1,
        title="BiomedCLIP",
        description="Hub id of an open_clip model, or its folder.",
    )
    device: Literal["cpu", "cuda"] = Field("cpu", title="Device", description="Device of the published networks.")
