import pytest

from tasks.shared.metric_names import class_metric


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("normal", "a/b_normal"),
        ("Collecting Duct, Connecting Tubule", "a/b_collecting_duct_connecting_tubule"),
        ("melanoma (in situ)", "a/b_melanoma_in_situ"),
    ],
)
def test_names_hold_only_what_trackers_allow(label, name):
    assert class_metric("a/b", label) == name
