import pytest

from tasks.parameters.check import check_parameters
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.forms import FORMS
from tasks.parameters.presets import PRESETS, form


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_fits_its_forms(preset):
    check_parameters(PRESETS[preset], FORMS)
    for name, values in PRESETS[preset].items():
        assert form(preset, name, FORMS[name]).model_dump().items() >= values.items()


def test_only_quickstart_allows_phantoms():
    allowed = {preset for preset in PRESETS if form(preset, "dataset", DatasetParameters).phantoms}
    assert allowed == {"quickstart"}
