"""Cases as a run makes them, from drawn phantoms or from any pictures."""

import functools
import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.report_generation.regions import describe_region
from models.report_generation.schema import Answer, NeighbourEvidence
from models.report_generation.schema import Case as Evidence
from models.report_generation.template import TemplateGenerator
from tasks.cases.case import Case, Classification, Reliability, Screening, SimilarCase, SimilarCases
from tasks.cases.pages import CaseView
from tasks.data.phantoms import draw_phantoms
from tasks.shared.model_size import to_model_size

SOURCE = {"classifier": "champion, version 3", "dataset": "somemnist", "revision": None}
LINKS = {"All pictures of this run": "index.html", "The run in Prefect": "http://127.0.0.1:4200/runs/flow-run/1"}
NEAR = ("pneumonia", "pneumonia", "normal", "pneumonia", "pneumonia")
HOSTILE = "<script>alert(1)</script>\"' onerror=x {{ 7 * 7 }}\x00\x1b[31m\u202egnp.exe " + "n" * 240 + ".png"
"""A file may be called so: tags, quotes, control characters, a mark that turns the direction of reading, long."""
REASON = "It is a colour photograph: the three channels differ by 41 grey levels on average."


@functools.cache
def _splits():
    return draw_phantoms(28, 0)


def phantom(index: int = 0, height: int = 300, width: int = 400) -> NDArray[np.uint8]:
    """A drawn phantom of any size."""
    image = Image.fromarray(_splits().test_images[index])
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def example_case(
    name: str = "scan.png",
    probability: float | None = 0.83,
    *,
    picture: NDArray[np.uint8] | None = None,
    reasons: Sequence[str] = (),
    near: Sequence[str] = NEAR,
    encoders: Sequence[str] = ("classifier",),
    sets: tuple[tuple[str, ...], tuple[str, ...]] | None = None,
    reports: dict[str, str | None] | None = None,
    problem: str | None = None,
) -> Case:
    """A case of any kind; without a probability it could not be read."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    if probability is None:
        return Case(digest=digest, name=name, problem=problem or "It is a PDF document: a picture was expected.")
    label = "pneumonia" if probability >= 0.46 else "normal"
    height, width = (300, 400) if picture is None else picture.shape
    return Case(
        digest=digest,
        name=name,
        pixels="f" * 64,
        height=height,
        width=width,
        screening=Screening(
            foreign=bool(reasons), reasons=tuple(reasons), distance=0.91 if reasons else 0.31, limit=0.62, typical=0.41
        ),
        classification=Classification(
            probability=probability,
            threshold=0.46,
            label=label,
            sets=dict(zip(("0.90", "0.95"), sets or ((label,), ("normal", "pneumonia")), strict=True)),
            reliability=Reliability(low=0.8, high=0.9, images=41, share=0.93, share_low=0.81, share_high=0.98),
        ),
        similar=tuple(
            SimilarCases(
                encoder=encoder,  # type: ignore[arg-type]
                identity="f" * 12,
                hits=tuple(
                    SimilarCase(split="train", index=100 + place, label=each, similarity=0.97 - 0.01 * place)
                    for place, each in enumerate(near)
                ),
            )
            for encoder in encoders
        ),
        reports=reports or {},
    )


def example_view(
    name: str = "scan.png",
    probability: float = 0.83,
    *,
    picture: NDArray[np.uint8] | None = None,
    neighbours: NDArray[np.uint8] | None = None,
    heat: dict[str, NDArray[np.floating]] | None = None,
    report: bool = True,
    answers: Sequence[Answer] | None = None,
    claims: dict[str, Sequence] | None = None,
    **case,
) -> CaseView:
    """A view of a case, with the report of the template."""
    picture = phantom() if picture is None else picture
    image = to_model_size(picture, 28)
    rows, columns = np.indices((28, 28))
    blob = np.exp(-((rows - 17) ** 2 + (columns - 8) ** 2) / 30)
    heat = {"normal": np.zeros((28, 28)), "pneumonia": blob} if heat is None else heat
    made = example_case(name, probability, picture=picture, **case)
    if answers is None:
        answers = [template_answer(made, image, heat["pneumonia"])] if report else []
    said = {answer.strategy: answer.report.label if answer.report else None for answer in answers}
    near = _splits().train_images if neighbours is None else neighbours
    return CaseView(
        case=made.model_copy(update={"reports": said}),
        picture=picture,
        image=image,
        heat=heat,
        neighbours={similar.encoder: [near[place] for place, _ in enumerate(similar.hits)] for similar in made.similar},
        answers=answers,
        claims=claims or {},
    )


def template_answer(case: Case, image: NDArray[np.uint8], heat: NDArray[np.floating]) -> Answer:
    """What the template writes of a case."""
    assert case.classification
    region = describe_region(heat)
    evidence = Evidence(
        index=0,
        image_sha256=case.pixels,
        probability=case.classification.probability,
        threshold=case.classification.threshold,
        heat_region=region.words,
        heat_share=region.share,
        neighbours=tuple(
            NeighbourEvidence(index=hit.index, label=hit.label, similarity=hit.similarity, split=hit.split)
            for similar in case.similar[:1]
            for hit in similar.hits
        ),
    )
    (report,) = TemplateGenerator("somemnist", "f" * 64, False).generate([evidence], image[None])
    return Answer(
        row_id=f"row of {case.short_name}", case_index=0, strategy="template", control="none",
        shown_probability=evidence.probability, prompt="", text="", report=report,
    )  # fmt: skip
