"""Cases for the tests of what is made of them."""

import hashlib

from tasks.cases.case import Case, Classification, Reliability, Screening, SimilarCase, SimilarCases


def a_case(name="scan.png", probability=0.9, *, foreign=False, members=None, similar=("pneumonia",), problem=None):
    digest = hashlib.sha256(f"{name} {probability} {foreign}".encode()).hexdigest()
    if problem is not None:
        return Case(digest=digest, name=name, problem=problem)
    label = "pneumonia" if probability >= 0.5 else "normal"
    members = (label,) if members is None else members
    return Case(
        digest=digest,
        name=name,
        pixels="ab" * 32,
        height=1024,
        width=900,
        screening=Screening(
            foreign=foreign,
            reasons=("It is farther from the training images than 95 % of the validation images.",) if foreign else (),
            distance=0.5 if foreign else 0.1,
            limit=0.3,
            typical=0.01 if foreign else 0.6,
        ),
        classification=Classification(
            probability=probability,
            threshold=0.5,
            label=label,
            sets={"0.90": members, "0.95": ("normal", "pneumonia")},
            reliability=Reliability(low=0.8, high=0.95, images=50, share=0.92, share_low=0.81, share_high=0.97),
        ),
        similar=tuple(
            SimilarCases(
                encoder=encoder,
                identity=f"{encoder} sha256:00",
                hits=(SimilarCase(split="train", index=3, label=majority, similarity=0.98),),
            )
            for encoder, majority in zip(("classifier", "metric"), similar, strict=False)
        ),
    )
