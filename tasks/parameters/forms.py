"""The forms by the name that they have in every flow."""

from tasks.parameters.add import AddParameters
from tasks.parameters.base import Parameters
from tasks.parameters.cases import CasesParameters
from tasks.parameters.champion import ChampionParameters
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.evaluation import EvaluationParameters
from tasks.parameters.execution import ExecutionParameters
from tasks.parameters.reports import ReportParameters
from tasks.parameters.retrieval import RetrievalParameters
from tasks.parameters.search import SearchParameters
from tasks.parameters.sweep import SweepParameters
from tasks.parameters.training import TrainingParameters

FORMS: dict[str, type[Parameters]] = {
    "dataset": DatasetParameters,
    "training": TrainingParameters,
    "evaluation": EvaluationParameters,
    "retrieval": RetrievalParameters,
    "reports": ReportParameters,
    "search": SearchParameters,
    "cases": CasesParameters,
    "add": AddParameters,
    "sweep": SweepParameters,
    "execution": ExecutionParameters,
    "champion": ChampionParameters,
}
"""The forms by the name that they have in every flow."""
