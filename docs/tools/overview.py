"""The overview: figures of one pipeline run, put together on one sheet."""

import tempfile
from collections.abc import Sequence

from mlflow import MlflowClient
from PIL import Image

from models.errors import InputError

COLUMNS = (
    ("confusion_matrix", "roc_curve", "grad_cam"),
    ("failure_cases", "gallery_test"),
    ("projection", "contact_sheet", "reliability_diagram"),
)
_MARGIN = 12


def overview(tracking: str, width: int = 2094) -> Image.Image:
    """Put figures of the newest finished pipeline run together.

    Args:
        tracking: address of the MLflow server.
        width: of the sheet, in pixels.

    Returns:
        The sheet.

    Raises:
        InputError: no pipeline run has all the figures.
    """
    client = MlflowClient(tracking)
    experiments = {experiment.name: experiment.experiment_id for experiment in client.search_experiments()}
    stages = [identity for name, identity in experiments.items() if name.startswith("pneumonia/")]
    pipeline = experiments.get("pneumonia/pipeline")
    finished = client.search_runs([pipeline], "attributes.status = 'FINISHED'", max_results=1) if pipeline else []
    if not finished:
        raise InputError(f"{tracking} has no finished pipeline run to make the overview of: run the pipeline once.")
    figures: dict[str, Image.Image] = {}
    with tempfile.TemporaryDirectory() as folder:
        for run in client.search_runs(stages, f"tags.`mlflow.parentRunId` = '{finished[0].info.run_id}'"):
            for name in {name for column in COLUMNS for name in column} - figures.keys():
                path = f"figures/{name}.png"
                if path in {file.path for file in client.list_artifacts(run.info.run_id, "figures")}:
                    figures[name] = Image.open(client.download_artifacts(run.info.run_id, path, folder)).convert("RGB")
    missing = [name for column in COLUMNS for name in column if name not in figures]
    if missing:
        raise InputError(f"the pipeline run {finished[0].info.run_name} has no figure {missing[0]}: run it anew.")
    return sheet([[figures[name] for name in column] for column in COLUMNS], width)


def sheet(columns: Sequence[Sequence[Image.Image]], width: int) -> Image.Image:
    """Lay pictures out, whole, in columns that are equally wide.

    Args:
        columns: the pictures of each, from the top.
        width: of the sheet, in pixels.

    Returns:
        The sheet, on white, as high as its longest column.
    """
    wide = (width - _MARGIN * (len(columns) - 1)) // len(columns)
    scaled = [
        [each.resize((wide, round(each.height * wide / each.width)), Image.Resampling.LANCZOS) for each in column]
        for column in columns
    ]
    height = max(sum(each.height + _MARGIN for each in column) - _MARGIN for column in scaled)
    whole = Image.new("RGB", (width, height), "white")
    for place, column in enumerate(scaled):
        top = 0
        for each in column:
            whole.paste(each, (place * (wide + _MARGIN), top))
            top += each.height + _MARGIN
    return whole
