"""Pictures and products as the tests of the page have them."""

import io
import json

import numpy as np
from PIL import Image

from tasks.cases.case import Case, Classification, Reliability, Screening

LEVELS = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
SAFE_PAGE = (
    '<!DOCTYPE html>\n<html lang="en-GB">\n<head>\n<meta charset="utf-8">\n'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'{scripts}\">\n"
    "<title>x</title>\n</head>\n<body>{body}</body>\n</html>\n"
)


def png(levels=LEVELS):
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    return file.getvalue()


def case(digest="ab" * 32, *, foreign=False, sets=("pneumonia",), problem=None):
    if problem:
        return Case(digest=digest, name="a.pdf", problem=problem)
    reliability = Reliability(low=0.8, high=1, images=9, share=0.9, share_low=0.7, share_high=1)
    return Case(
        digest=digest,
        name="scan.png",
        pixels="cd" * 32,
        height=40,
        width=50,
        screening=Screening(foreign=foreign, reasons=(), distance=1, limit=2, typical=0.5),
        classification=Classification(
            probability=0.9,
            threshold=0.5,
            label="pneumonia",
            sets={"0.90": tuple(sets), "0.95": tuple(sets)},
            reliability=reliability,
        ),
    )


def write_products(folder, run, cases, body="found", scripts=""):
    """Write what a run of the flow `cases` writes."""
    place = folder / str(run)
    (place / "fhir").mkdir(parents=True)
    (place / "cases.json").write_text(json.dumps([each.model_dump(mode="json") for each in cases]))
    (place / "cases.csv").write_text("name\n")
    page = SAFE_PAGE.format(scripts=scripts, body=body)
    (place / "index.html").write_text(page)
    for each in cases:
        if each.classification:
            (place / f"{each.short_name}.html").write_text(page)
            (place / "fhir" / f"{each.short_name}.json").write_text("{}")
    return place
