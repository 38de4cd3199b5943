"""A view of MLflow's pages: the figures of an experiment's runs side by side, a row a figure, a column a run.

It is written as those pages save a view of their own, and stands under *Views* on the page of the experiment.
"""

import json
from collections.abc import Sequence

TAG = "mlflow.sharedViewState.figures"
"""Tag of the experiment under which the view is kept."""


def figure_view(images: Sequence[str]) -> str:
    """Describe the view.

    Args:
        images: keys of the images, in the order of the rows.

    Returns:
        The tag's value.
    """
    chart = {
        "uuid": "figures",
        "type": "IMAGE",
        "metricSectionId": "side-by-side",
        "imageKeys": list(images),
        "runsCountToCompare": 10,
        "step": 0,
        "showRunParams": False,
        "deleted": False,
        "isGenerated": False,
    }
    section = {
        "uuid": "side-by-side",
        "name": "Side by side",
        "columns": 1,
        "cardHeight": 60 + 150 * (1 + len(images)),
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
    }
    state = {"compareRunCharts": [chart], "compareRunSections": [section], "isAccordionReordered": True}
    return json.dumps({"name": "Figures side by side", "createdAt": 0, "state": json.dumps(state)})
