"""One pipeline and one search all of whose files and texts hold what would do something wherever it were obeyed."""

import json
from pathlib import Path

import numpy as np
import pytest
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL
from sqlalchemy.engine import make_url

from flows.pipeline import pipeline
from flows.search import search
from flows.support.shell import main
from tests.flows.small import LIMIT
from tests.models.encoders.twins import write_clip
from tests.support import canary
from tests.support.smallest import words

pytestmark = pytest.mark.usefixtures("prefect_server", "shared_outputs")
SHOWN = {"archive", "fixes", "reports", "encoder", "query"}
"""Fields whose names or texts are shown: names of files and folders that were given, and the text of a query."""


@pytest.fixture(scope="module")
def given(official_file, tmp_path_factory):
    """The files, by what they are; each has a name of that kind, too."""
    folder = tmp_path_factory.mktemp("canaries")
    archive = folder / canary.name_of_file("archive", ".npz")
    with np.load(official_file) as arrays:
        few = {name: values[:LIMIT] for name, values in arrays.items()}
    np.savez(archive, **few)
    corrections = folder / canary.name_of_file("fixes", ".csv")
    beside = canary.text("column", 20).replace("\r\n", " ").replace('"', "")
    corrections.write_text(
        f'index,split,given,corrected,"{beside}"\n3,train,{("normal", "pneumonia")[few["train_labels"][3, 0]]},'
        f'{("pneumonia", "normal")[few["train_labels"][3, 0]]},"{beside}"\n'
    )
    references = folder / canary.name_of_file("reports", ".json")
    references.write_text(
        json.dumps([{"case": place, "reference": canary.text("reference", 60)} for place in range(LIMIT)])
    )
    encoder = write_clip(folder / canary.name_of_file("encoder", ""))
    config = json.loads((encoder / "config.json").read_text())
    config |= {"_name_or_path": canary.text("config", 20), "architectures": [canary.text("config", 20)]}
    (encoder / "config.json").write_text(json.dumps(config))
    return {"archive": archive, "corrections": corrections, "references": references, "encoder": encoder}


def test_what_is_given_steers_no_terminal_and_is_no_markup_anywhere(given, shared_outputs, capfd, caplog):
    pipeline_words = words(
        "training", "evaluation", "retrieval", "reports",
        dataset__path=given["archive"], dataset__corrections=given["corrections"],
        retrieval__encoders=["classifier", "clip"], retrieval__clip=given["encoder"],
        reports__references=given["references"],
    )  # fmt: skip
    text = canary.text("query")[:50]
    assert main(pipeline, [*pipeline_words, "--name", canary.text("name")[:100]]) == 0
    assert main(search, ["--search.encoder", "clip", "--search.text", text]) == 0
    printed = "".join(capfd.readouterr()) + caplog.text
    database = Path(make_url(PREFECT_API_DATABASE_CONNECTION_URL.value()).database)
    places = [shared_outputs, database.parent]
    assert canary.fields(places) >= SHOWN | {"name"}
    kept = str(shared_outputs / "store" / "sha256")  # files as they were given
    assert [said for said in canary.raw(places) if not said.startswith(kept)] == []
    assert canary.long([place for place in shared_outputs.iterdir() if place.name != "store"]) == []
    assert canary.MARK in printed
    assert not [mark for mark in ("\x1b[31m", "\u202e", "\u200b", "\u2028", "\x07") if mark in printed]
    assert canary.obeyed_pages(places) == []
