from datetime import date

import pytest
from pydantic import ValidationError

from tasks.parameters.archive import ArchiveParameters


def test_a_form_that_is_left_alone_asks_no_archive():
    form = ArchiveParameters()
    assert form.dicomweb is None
    assert not form.store_back
    assert form.modality == ["CR", "DX"]


def test_what_a_person_types_is_taken():
    form = ArchiveParameters.model_validate(
        {"dicomweb": "https://host/dicom-web", "study": "1.2.840.1", "body_part": "CHEST", "since": "2026-11-01"}
    )
    assert form.since == date(2026, 11, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"study": "../1"},
        {"study": "1.2." + "3" * 64},
        {"body_part": "CHEST&limit=1"},
        {"since": "yesterday"},
        {"modality": ["MR"]},
        {"modality": []},
        {"login_block": "name:password"},
    ],
)
def test_what_is_none_is_refused(wrong):
    with pytest.raises(ValidationError):
        ArchiveParameters.model_validate(wrong)


def test_the_form_has_no_field_for_a_login_itself():
    schema = ArchiveParameters.model_json_schema()["properties"]
    assert [name for name in schema if "login" in name or "password" in name] == ["login_block"]
    assert all(schema[name]["title"] and schema[name]["description"] for name in schema)
