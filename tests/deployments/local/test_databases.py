"""Addresses of databases, in the arguments of programs: everybody on the machine can see those."""

import pytest
from sqlalchemy import make_url

from deployments.local.databases import login, shown, without_password


@pytest.mark.parametrize(
    "address", ["postgresql://me:secret@db/x?sslmode=require", "postgresql://me@db/x?password=secret&sslmode=require"]
)
def test_a_password_goes_by_the_environment_wherever_it_stood(address):
    url = make_url(address)
    assert without_password(url) == "postgresql://me@db/x?sslmode=require"
    assert login(url)["PGPASSWORD"] == "secret"
    assert "secret" not in shown(url)
