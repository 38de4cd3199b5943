import os
from uuid import UUID, uuid4

import pytest

from deployments.page import products
from tests.deployments.page.pictures import case, write_products

RUN = UUID("11111111-2222-3333-4444-555555555555")


def test_a_run_says_what_it_found_in_the_order_of_urgency(tmp_path):
    cases = [
        case("a" * 64),
        case("b" * 64, foreign=True),
        case("c" * 64, sets=()),
        case("d" * 64, problem="It is no image."),
    ]
    write_products(tmp_path, RUN, cases)
    found = products.results(tmp_path, RUN)
    assert found.found == "4 pictures: 1 unreadable, 1 foreign, 1 borderline, 1 without concern"
    assert found.page == "index.html"
    assert found.files == ("cases.csv", "cases.json")


def test_one_picture_is_shown_by_its_own_page(tmp_path):
    write_products(tmp_path, RUN, [case()])
    found = products.results(tmp_path, RUN)
    assert (found.found, found.page) == ("1 picture, without concern", "abababababab.html")
    assert found.files == ("cases.csv", "cases.json", "fhir/abababababab.json")
    other = uuid4()
    write_products(tmp_path, other, [case(problem="It is no image.")])
    assert products.results(tmp_path, other).page == "index.html"


def test_there_is_nothing_before_all_is_written(tmp_path):
    assert products.results(tmp_path, RUN) is None
    place = write_products(tmp_path, RUN, [case()])
    (place / "cases.json").unlink()
    assert products.results(tmp_path, RUN) is None


@pytest.mark.parametrize("table", ["", "[{", '[{"digest": 3}]', '[{"digest": "a", "name": "b", "of": "tomorrow"}]'])
def test_a_table_that_cannot_be_read_is_said(tmp_path, table):
    place = write_products(tmp_path, RUN, [case()])
    (place / "cases.json").write_text(table)
    assert products.results(tmp_path, RUN).found == "pictures that another version has looked at"


def test_the_last_runs_come_newest_first(tmp_path):
    runs = [uuid4() for _ in range(4)]
    for age, run in enumerate(runs):
        place = write_products(tmp_path, run, [case()])
        os.utime(place, (1e9 - age, 1e9 - age))
    (tmp_path / "notes").mkdir()
    (tmp_path / str(uuid4())).mkdir()
    assert [result.run for result in products.newest(tmp_path, 3)] == runs[:3]
    assert products.newest(tmp_path / "none", 3) == []


def test_files_of_a_run_are_found_and_nothing_else(tmp_path):
    place = write_products(tmp_path, RUN, [case()])
    (tmp_path / "secret.json").write_text("secret")
    (place / ".hidden.json").write_text("hidden")
    (place / "notes.txt").write_text("a type that is not given out")
    (place / "link.json").symlink_to(tmp_path / "secret.json")
    (place / "dicom").symlink_to(tmp_path)
    for name in ("index.html", "cases.csv", "fhir/abababababab.json"):
        assert products.product(tmp_path, RUN, name) == place / name
    for name in (
        "",
        "fhir",
        "fhir/",
        "../secret.json",
        "fhir/../../secret.json",
        "/etc/passwd",
        str(tmp_path / "secret.json"),
        ".hidden.json",
        "notes.txt",
        "link.json",
        "dicom/secret.json",
        "index.html/x",
        "index.html\n",
        "fhir\\x.json",
        "a/b.json",
    ):
        assert products.product(tmp_path, RUN, name) is None, name


def test_a_page_may_run_only_scripts_that_it_names_by_their_hash(tmp_path):
    strict = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'"
    )

    def policy(scripts):
        place = write_products(tmp_path, uuid4(), [case()], scripts=scripts)
        return products.policy(place / "index.html")

    assert policy("") == strict
    assert policy("; script-src 'unsafe-inline' https://cdn.example") == strict
    assert policy("; script-src 'unsafe-inline' 'sha256-YWJj/+0='; img-src *") == strict.replace(
        "'none'; img", "'none'; script-src 'sha256-YWJj/+0='; img", 1
    )
    late = tmp_path / "late.html"
    late.write_text(" " * 9000 + '<meta http-equiv="Content-Security-Policy" content="script-src \'sha256-YQ==\'">')
    assert products.policy(late) == strict
