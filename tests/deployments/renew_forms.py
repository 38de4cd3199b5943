"""Write the snapshots of the forms anew: `python -m tests.deployments.renew_forms`."""

from tests.deployments.forms_of_flows import FOLDER, form_of, triggered_flows

if __name__ == "__main__":
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for flow in triggered_flows().values():
        (FOLDER / f"{flow.name}.json").write_text(form_of(flow), encoding="utf-8")
