"""The overview: figures of one pipeline run, put together on one sheet."""

import tempfile
from collections.abc import Sequence

from mlflow import MlflowClient
from PIL import Image

from models.errors import InputError

ROWS = (
    ("confusion_matrix", "roc_curve", "reliability_diagram", "precision_at_k"),
    ("grad_cam", "projection"),
    ("gallery_test", "contact_sheet"),
)
_MARGIN = 12
_TALLEST = 0.85  # of a picture, as a share of its width


def overview(tracking: str, width: int = 1500) -> Image.Image:
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
            for name in {name for row in ROWS for name in row} - figures.keys():
                path = f"figures/{name}.png"
                if path in {file.path for file in client.list_artifacts(run.info.run_id, "figures")}:
                    figures[name] = Image.open(client.download_artifacts(run.info.run_id, path, folder)).convert("RGB")
    missing = [name for row in ROWS for name in row if name not in figures]
    if missing:
        raise InputError(f"the pipeline run {finished[0].info.run_name} has no figure {missing[0]}: run it anew.")
    return sheet([[_cut(figures[name]) for name in row] for row in ROWS], width)


def sheet(rows: Sequence[Sequence[Image.Image]], width: int) -> Image.Image:
    """Lay pictures out in rows that are equally wide, each with pictures of the same height.

    Args:
        rows: the pictures.
        width: of the sheet, in pixels.

    Returns:
        The sheet, on white.
    """
    scaled = [_row(row, width) for row in rows]
    whole = Image.new("RGB", (width, sum(row.height + _MARGIN for row in scaled) - _MARGIN), "white")
    top = 0
    for row in scaled:
        whole.paste(row, (0, top))
        top += row.height + _MARGIN
    return whole


def _cut(picture: Image.Image) -> Image.Image:
    """Keep the upper part of a picture that is long."""
    return picture.crop((0, 0, picture.width, min(picture.height, round(_TALLEST * picture.width))))


def _row(pictures: Sequence[Image.Image], width: int) -> Image.Image:
    free = width - _MARGIN * (len(pictures) - 1)
    height = round(free / sum(picture.width / picture.height for picture in pictures))
    row = Image.new("RGB", (width, height), "white")
    left = 0
    for picture in pictures:
        scaled = picture.resize((round(picture.width * height / picture.height), height), Image.Resampling.LANCZOS)
        row.paste(scaled, (left, 0))
        left += scaled.width + _MARGIN
    return row
