import re

import pytest
from pydantic import ValidationError

from models.report_generation.openai_server.address import PATTERN
from tasks.parameters.reports import ReportParameters


def test_an_address_of_a_server_is_kept_in_its_one_spelling():
    assert ReportParameters(server="HTTP://LocalHost:8000/").server == "http://localhost:8000/v1"
    assert ReportParameters(server=None).server is None


@pytest.mark.parametrize("address", ["http://me:secret@h/v1", "https://h/v1?key=secret", "h:8000", "ftp://h", ""])
def test_neither_the_form_nor_a_server_of_forms_takes_a_login_or_a_query(address):
    with pytest.raises(ValidationError):
        ReportParameters(server=address)
    field = ReportParameters.model_json_schema()["properties"]["server"]
    assert field["pattern"] == PATTERN
    assert not re.search(field["pattern"], address)
