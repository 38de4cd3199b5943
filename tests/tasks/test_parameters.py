import pytest
from pydantic import ValidationError

from models.classifier.training import TrainingSettings
from tasks.parameters.champion import ChampionParameters
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.evaluation import EvaluationParameters
from tasks.parameters.execution import ExecutionParameters
from tasks.parameters.presets import PRESETS, form
from tasks.parameters.reports import ReportParameters
from tasks.parameters.retrieval import RetrievalParameters
from tasks.parameters.sweep import SweepParameters
from tasks.parameters.training import TrainingParameters

FORMS = {
    "dataset": DatasetParameters, "training": TrainingParameters, "retrieval": RetrievalParameters,
    "reports": ReportParameters, "evaluation": EvaluationParameters, "sweep": SweepParameters,
    "champion": ChampionParameters, "execution": ExecutionParameters,
}  # fmt: skip


def test_the_training_form_has_the_defaults_of_the_training():
    assert TrainingSettings(**TrainingParameters().model_dump()) == TrainingSettings()


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", FORMS)
def test_every_preset_fits_its_form(preset, name):
    filled = form(preset, name, FORMS[name])
    assert filled.model_dump().items() >= PRESETS[preset].get(name, {}).items()


def test_only_quickstart_allows_phantoms():
    allowed = {preset for preset in PRESETS if form(preset, "dataset", DatasetParameters).phantoms}
    assert allowed == {"quickstart"}


@pytest.mark.parametrize(
    "fields", [{"epochs": 0}, {"batch_size": 1}, {"seed": -1}, {"learning_rate": 0}, {"epoch": 3}, {"loss": "hinge"}]
)
def test_a_training_that_cannot_be_is_refused_by_the_form(fields):
    with pytest.raises(ValidationError):
        TrainingParameters(**fields)


def test_every_field_has_a_title_and_a_description():
    for model in FORMS.values():
        for field in model.model_fields.values():
            assert field.title
            assert field.description


def test_one_fold_is_refused_by_the_form_and_none_or_two_are_not():
    with pytest.raises(ValidationError, match="choose 2 or more, or 0 for no audit"):
        EvaluationParameters(label_folds=1)
    assert [EvaluationParameters(label_folds=folds).label_folds for folds in (0, 2)] == [0, 2]
