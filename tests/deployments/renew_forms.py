"""Write the snapshots of the forms anew: `python -m tests.deployments.renew_forms`."""

from tasks.parameters.forms import FORMS
from tests.deployments.forms_of_flows import FOLDER, snapshot

if __name__ == "__main__":
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for form in FORMS:
        (FOLDER / f"{form}.json").write_text(snapshot(form), encoding="utf-8")
