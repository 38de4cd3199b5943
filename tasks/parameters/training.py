"""How to train the classifier."""

from models.classifier.training_settings import TrainingSettings
from tasks.parameters.base import Parameters


class TrainingParameters(Parameters, TrainingSettings):
    """How to train the classifier."""
