import pytest

from models.report_generation.conventions import CONVENTIONS, release_of


@pytest.mark.parametrize(
    ("model", "release"),
    [
        ("google/medgemma-4b-it", "1"),
        ("google/medgemma-1.5-4b-it", "1.5"),
        ("/weights/medgemma-1.5-4b-it/", "1.5"),
        ("/mnt/v1.5/medgemma-4b-it", "1"),
        ("google/gemma-3-4b-it", "1"),
    ],
)
def test_a_models_name_tells_its_release(model, release):
    assert release_of(model) == release
    assert release_of(model, "1") == "1"
    assert release_of(model, "1.5") == "1.5"


def test_the_first_release_is_told_who_it_is_and_reads_before_it_looks():
    assert CONVENTIONS["1"].system == "You are an expert radiologist."
    assert not CONVENTIONS["1"].image_first
    assert CONVENTIONS["1.5"].system is None
    assert CONVENTIONS["1.5"].image_first
