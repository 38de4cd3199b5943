"""Addresses in MLflow's pages, and what decides what they show.

MLflow's pages open in a view for language models unless an address says otherwise, and a link of theirs forgets what
the address said. So every address that a person is given is made here, and the pages of experiments and runs link one
another in their descriptions.
"""

from urllib.parse import quote, urlencode

from tasks.storage.locations import tracking_page

_KIND = {"workflowType": "machine_learning"}
LEADERBOARD, FIGURES = "leaderboard", "figures"
"""Keys of the saved views."""


def start_page(server: str) -> str:
    """Return the address of the list of experiments of a server."""
    return f"{server}/{_place('experiments')}"


def run_page(experiment_id: str, run_id: str, artifact: str = "", *, within: bool = False) -> str:
    """Return the address of a run.

    Args:
        experiment_id: its experiment.
        run_id: its id.
        artifact: path of one of its files, which the page then shows.
        within: leave the server's name out, for a link in MLflow's own pages.
    """
    file = f"/artifacts/{quote(artifact)}" if artifact else ""
    place = _place(f"experiments/{experiment_id}/runs/{run_id}{file}")
    return place if within else f"{tracking_page()}/{place}"


def view_page(experiment_id: str, view: str, *, within: bool = False) -> str:
    """Return the address of a saved view of an experiment's runs.

    Args:
        experiment_id: the experiment.
        view: `LEADERBOARD` or `FIGURES`. Whether runs are shown as a table or as charts is not kept in a view.
        within: leave the server's name out, for a link in MLflow's own pages.
    """
    mode = {"compareRunsMode": "CHART"} if view == FIGURES else {}
    place = _place(f"experiments/{experiment_id}/runs", viewStateShareKey=view, **mode)
    return place if within else f"{tracking_page()}/{place}"


def _place(path: str, **options: str) -> str:
    return f"#/{path}?{urlencode(options | _KIND)}"
