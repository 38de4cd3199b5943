import subprocess
import sys

import pytest
from pydantic import ValidationError

from models import choices
from models.classifier.training_settings import TrainingSettings

TABLES = {
    "architecture": choices.ARCHITECTURES,
    "loss": choices.LOSSES,
    "schedule": choices.SCHEDULES,
    "augmentation": choices.AUGMENTATIONS,
    "precision": choices.PRECISIONS,
    "encoder": choices.PUBLISHED_ENCODERS,
}
SCHEMA = TrainingSettings.model_json_schema()["properties"]


@pytest.mark.parametrize("field", TABLES)
def test_the_form_offers_every_choice_with_its_line_and_nothing_else(field):
    assert SCHEMA[field]["enum"] == list(TABLES[field])
    for name, line in TABLES[field].items():
        assert f"`{name}` – {line}" in SCHEMA[field]["description"]


@pytest.mark.parametrize(
    "fields",
    [
        *({field: "other"} for field in TABLES),
        *({"epochs": 0}, {"batch_size": 1}, {"learning_rate": 0.0}, {"mixup": -0.1}, {"patience": 0}, {"seed": -1}),
        *({"label_smoothing": 0.5}, {"ema_decay": 1}, {"epoch": 3}),
    ],
    ids=str,
)
def test_settings_that_make_no_training_are_refused(fields):
    with pytest.raises(ValidationError):
        TrainingSettings(**fields)


def test_a_form_does_not_wait_for_pytorch():
    program = "import sys, models.classifier.epoch_metrics, tasks.parameters.training; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
