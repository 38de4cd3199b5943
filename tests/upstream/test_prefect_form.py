"""What the form of Prefect's UI makes of a JSON schema, and the names that it proposes: nothing of it is documented."""

import re
from pathlib import Path

import prefect
import pytest

from flows.support.naming import PROPOSED_ADJECTIVES

ASSETS = Path(prefect.__file__).parent / "server" / "ui-v2" / "assets"


def _script(name):
    (file,) = (file for file in ASSETS.glob("*.js") if re.fullmatch(rf"{re.escape(name)}[\w-]{{8}}\.js", file.name) and
               file.stat().st_size > 10_000)  # fmt: skip
    return file.read_text(encoding="utf-8")


def test_the_proposed_names_are_those_that_are_known():
    script = _script("deployment_._id.run-")
    words = ",".join(f"`{word}`" for word in PROPOSED_ADJECTIVES)
    assert f"[{words}]" in script
    assert re.search(r"`\$\{\w+\(\)\}-\$\{\w+\(\{maxCharCount:6\}\)\}`", script)


@pytest.mark.parametrize(
    "found",
    [
        r'Property is type "None"',  # of an alternative to null
        r"type:`number`,min:\w+\.minimum,max:\w+\.maximum",  # exclusive bounds are not looked at
        r"\.required\?\.includes",
        r"\(Optional\)",  # of all that the schema does not require
        r"\.position\?\?0",
    ],
)
def test_the_form_goes_by_these_parts_of_a_schema(found):
    script = _script("schema-form-")
    assert re.search(found, script)
    assert "patternProperties" not in script  # so that what is there is not shown
    assert "exclusiveMinimum" not in script
