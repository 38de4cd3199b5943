"""Model cards, read as others read them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from tasks.classification.metrics import METRICS

_ROW = re.compile(r"^\| [^|]* \| ([^|]*) \| ([^|]*) \| `([^`]+)` \|$", re.MULTILINE)
_HEADING = re.compile(r"^(##|###) (.+?)(?: \[optional\])?$", re.MULTILINE)
_CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def assert_every_figure_is_a_metric(text: str, metrics: dict[str, float]) -> None:
    """Compare the metadata and the tables of a card with the metrics of its run."""
    data = ModelCard(text).data
    assert isinstance(data, ModelCardData)
    results = data.eval_results or []
    named = {result.metric_name: result.metric_value for result in results}
    assert named == {
        f"{split}/{metric}": metrics[f"{split}/{metric}"] for split in ("test", "val") for metric in METRICS
    }
    shown = {}
    for value, interval, metric in _ROW.findall(text):
        shown[metric] = value
        assert value == f"{metrics[metric]:.4g}"
        bounds = [f"{metric}_ci_low", f"{metric}_ci_high"]
        assert interval == (" – ".join(f"{metrics[name]:.4g}" for name in bounds) if bounds[0] in metrics else "")
    families = ("test/", "conformal/", "shift/", "failures/", "labels/", "explanation/", "onnx/")
    wanted = {name for name in metrics if name.startswith(families) and not name.endswith(("_ci_low", "_ci_high"))}
    assert wanted <= shown.keys()


def assert_headings_are_hugging_faces(text: str) -> None:
    """Compare the headings with those of the template, whose order they keep."""
    template = Path(ModelCard.default_template_path).read_text(encoding="utf-8")
    known = [(level, heading) for level, heading in _HEADING.findall(template)]
    places = [known.index(heading) for heading in _HEADING.findall(text)]
    assert places == sorted(places)
    assert {"Uses", "Out-of-Scope Use", "Bias, Risks, and Limitations", "Evaluation"} <= {
        known[place][1] for place in places
    }


def code_in(text: str) -> Iterator[str]:
    """Yield the pieces of Python that a card shows."""
    yield from _CODE.findall(text)


def run_code(text: str) -> dict[str, Any]:
    """Run the Python that a card shows, in the working directory; return what it leaves, the last of each name."""
    names: dict[str, Any] = {}
    for code in code_in(text):
        exec(code, names)
    return names
