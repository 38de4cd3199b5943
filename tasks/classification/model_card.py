"""The model card: what the user of a registered classifier must know, under Hugging Face's headings.

Its facts are those of the card within the classifier's file, its figures the metrics of the run.

Source: https://huggingface.co/docs/hub/model-cards and https://huggingface.co/docs/huggingface_hub/guides/model-cards
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from models.markdown import Markdown, escape
from models.notices import PHANTOM_NOTICE, RANDOM_ENCODER_NOTICE, RESEARCH_NOTICE
from tasks.classification.metrics import KAPPA, METRICS
from tasks.classification.version_files import DATA_CARD, GRAPH, PACKAGE
from tasks.records.classification import GraphRecord
from tasks.records.data import DatasetRecord
from tasks.shared.markdown import table

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

_LOW, _HIGH = "_ci_low", "_ci_high"
_HUB_NAMES = {"auc": "roc_auc", "brier": "brier_score"}
_TASK = "image-classification"
_POPULATIONS = {
    "pneumoniamnist": "X-rays of adults: those of the dataset are of children.",
}
"""Who is out of scope, by dataset, where its publication says who is in it."""


def model_card(
    name: str,
    dataset: DatasetRecord,
    card: Mapping[str, Any],
    metrics: Mapping[str, float],
    graph: GraphRecord | None,
    corrected: Sequence[tuple[str, str]] = (),
) -> str:
    """Write the card.

    Args:
        name: under which the classifier is registered.
        dataset: what it was trained and tested on.
        card: of the classifier's file.
        metrics: of the run.
        graph: its ONNX graph; None where none was made.
        corrected: which training labels a person has corrected, as rows of a table.

    Returns:
        Markdown that begins with a block of YAML.
    """
    metadata = _metadata(name, dataset, card, metrics).to_yaml()
    notices = [RESEARCH_NOTICE, *[PHANTOM_NOTICE] * dataset.phantoms]
    if card.get("encoder", {}).get("random_weights"):
        notices.append(RANDOM_ENCODER_NOTICE)
    body = "\n".join(_sections(name, dataset, card, metrics, graph, corrected))
    quoted = "\n>\n".join(f"> **{notice}**" for notice in notices)
    return f"---\n{metadata}\n---\n\n# Model Card for {escape(name)}\n\n{quoted}\n\n{body}"


def _metadata(
    name: str, dataset: DatasetRecord, card: Mapping[str, Any], metrics: Mapping[str, float]
) -> "ModelCardData":
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=_TASK,
            dataset_type=card["dataset"],
            dataset_name=dataset.title,
            dataset_split=split,
            dataset_revision=card["dataset_sha256"],
            metric_type=_HUB_NAMES.get(metric, metric),
            metric_name=f"{prefix}/{metric}",
            metric_value=metrics[f"{prefix}/{metric}"],
        )
        for prefix, split in (("test", "test"), ("val", "validation"))
        for metric in (*METRICS, KAPPA)
        if f"{prefix}/{metric}" in metrics
    ]
    return ModelCardData(
        model_name=name,
        license="other",
        license_name=f"not stated; training data: {card['licence']}",
        library_name="pytorch",
        pipeline_tag=_TASK,
        tags=[card["architecture"], card["dataset"], "medical", "research-only"],
        metrics=[_HUB_NAMES.get(metric, metric) for metric in METRICS],
        eval_results=results,
    )


def _sections(
    name: str,
    dataset: DatasetRecord,
    card: Mapping[str, Any],
    metrics: Mapping[str, float],
    graph: GraphRecord | None,
    corrected: Sequence[tuple[str, str]],
) -> Iterator[str]:
    classes = " or ".join(escape(label) for label in card["labels"])
    yield f"## Model Details\n\n### Model Description\n\n{escape(card['intended_use'])}\n"
    yield table(("", ""), _description(dataset, card))
    yield (
        f"## Uses\n\n### Direct Use\n\nResearch on how such classifiers learn, fail and can be explained, with images "
        f"of {card['image_size']}×{card['image_size']} pixels that were made as those of {escape(card['dataset'])} "
        f"were. It answers the probability of {classes}.\n"
    )
    yield f"### Out-of-Scope Use\n\n{_list(_out_of_scope(card))}"
    yield f"## Bias, Risks, and Limitations\n\n{_list(_limits(dataset, card))}"
    yield (
        "### Recommendations\n\nRead a probability beside the conformal set and the nearest known cases, which "
        "`python -m flows.cases` shows, and measure on images of your own before anything is concluded.\n"
    )
    yield f"## How to Get Started with the Model\n\n{_how_to_load(name, card, graph)}"
    yield f"## Training Details\n\n### Training Data\n\n{_training_data(dataset, card, corrected)}"
    yield f"### Training Procedure\n\n#### Preprocessing\n\n{_preprocessing(card)}"
    if "training" in card:
        rows = [(field, value, f"training.{field}") for field, value in card["training"].items() if value is not None]
        yield "#### Training Hyperparameters\n\n" + table(
            ("", "value", "param in MLflow"), [(field, str(value), _code(param)) for field, value, param in rows]
        )
    yield "## Evaluation\n\n### Testing Data, Factors & Metrics\n\n#### Testing Data\n"
    yield (
        "The test split, scored once, after epoch, temperature and threshold were settled on train and validation. "
        "Intervals are of a percentile bootstrap over its images, 95 %; they do not cover the seeds.\n"
    )
    yield f"#### Factors\n\n{_groups(dataset)}"
    yield f"### Results\n\n{_measured(metrics, [f'test/{metric}' for metric in (*METRICS, KAPPA)])}"
    yield f"On validation:\n\n{_measured(metrics, [f'val/{metric}' for metric in (*METRICS, KAPPA)])}"
    for heading, said, families in _TRUST:
        found = _measured(metrics, families)
        if found:
            yield f"#### {heading}\n\n{said}\n\n{found}"
    yield (
        f"## More Information\n\n[{DATA_CARD}]({DATA_CARD}) describes the data. The run of MLflow that registered this "
        "version holds the report with every figure.\n"
    )


_TRUST = (
    (
        "Calibration",
        "The temperature divides the logits and was fitted on validation. The expected calibration error and the Brier "
        "score say what it is worth on test.",
        ("calibration/temperature", "threshold", "test/ece", "test/brier"),
    ),
    (
        "Conformal sets",
        "How often the set of a class holds the truth on test, where validation promises 90 % and 95 %.",
        ("conformal/",),
    ),
    (
        "Shift from validation to test",
        "The AUC with which test images are told from validation images by their embeddings (.5 is alike), and how far "
        "the share of correct predictions moves.",
        ("shift/",),
    ),
    ("Failures", "How many test images are misclassified, and what remains without the least sure.", ("failures/",)),
    (
        "Labels in doubt",
        "Training labels that networks of other folds disagree with, and near-duplicates.",
        ("labels/",),
    ),
    (
        "ONNX graph",
        "Test images that the graph was compared on with the classifier, decisions that differ, and the greatest "
        "difference of a probability.",
        ("onnx/",),
    ),
    (
        "Heat maps",
        "Whether heat maps depend on what was learnt, and whether the score follows the pixels that they name.",
        ("explanation/",),
    ),
)
"""What each part of the trust says, and the metrics or families of metrics that it shows."""


def _description(dataset: DatasetRecord, card: Mapping[str, Any]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [
        ("architecture", card["architecture"]),
        ("classes", ", ".join(card["labels"])),
        ("input", f"{card['image_size']}×{card['image_size']} pixels, {'grey' if card['channels'] == 1 else 'colour'}"),
        ("weights", f"SHA-256 {card['weights_sha256']}"),
        ("licence", f"not stated; of the training data: {dataset.licence}"),
    ]
    if (encoder := card.get("encoder")) is not None:
        named = (
            f"{encoder['name']}, {encoder['model']}@{encoder['revision']}, licence {encoder['licence'] or 'unknown'}"
        )
        rows.append(("frozen encoder", named))
    return rows


def _out_of_scope(card: Mapping[str, Any]) -> list[str]:
    return [
        "Diagnosis, treatment or triage of anyone, also beside a physician: it was never studied for that.",
        f"Images of another kind, of other findings than {escape(' or '.join(card['labels']))}, or made otherwise: an "
        "answer comes in any case.",
        *([_POPULATIONS[card["dataset"]]] if card["dataset"] in _POPULATIONS else []),
    ]


def _limits(dataset: DatasetRecord, card: Mapping[str, Any]) -> list[str]:
    told = [
        "Validation decided epoch, temperature and threshold. Where images look different from it, as those of test "
        "may (see the shift below), all three are off.",
        f"{card['image_size']}×{card['image_size']} pixels show no fine structure: what the network sees is coarse.",
        "One training with one seed: another seed gives another classifier, whose figures differ within the intervals.",
    ]
    if dataset.listing is None:
        told.append("Nobody knows which images are of the same patient: they may lie in several splits.")
    if dataset.limit is not None:
        told.append("It was trained on a part of the data, for a try.")
    return told


def _groups(dataset: DatasetRecord) -> str:
    folder = dataset.listing is not None
    known = "The folder tells patients apart by names at most, but" if folder else "The file"
    return (
        f"{known} has no attributes of patients (age, sex, origin, device), so that whether groups are served alike is "
        "not measured. The classes are the one factor that is known: recall and specificity below are of "
        "one each, as are the coverages.\n"
    )


def _training_data(dataset: DatasetRecord, card: Mapping[str, Any], corrected: Sequence[tuple[str, str]]) -> str:
    rows: list[tuple[object, ...]] = [
        ("dataset", dataset.title),
        ("kind", dataset.kind),
        ("SHA-256", card["dataset_sha256"]),
        ("MD5", dataset.md5),
        ("licence", dataset.licence),
        *((f"{split} images", count) for split, count in dataset.counts.items()),
        ("of train left out, since validation has them", len(dataset.excluded_train)),
        *corrected,
    ]
    return table(("", ""), rows)


def _preprocessing(card: Mapping[str, Any]) -> str:
    statistics = card["normalization"]
    values = "; ".join(f"{name} {', '.join(f'{each:.4f}' for each in statistics[name])}" for name in statistics)
    return (
        f"Pixels are divided by 255 and normalised by the statistics of the training split ({values}). Every form "
        "below does so by itself: it takes pixels as they are stored.\n"
    )


def _measured(metrics: Mapping[str, float], wanted: Sequence[str]) -> str:
    """Show metrics by name, or all of a family whose name ends in a slash; nothing where there are none."""
    names = [
        metric
        for each in wanted
        for metric in (sorted(metrics) if each.endswith("/") else [each])
        if metric in metrics and (metric == each or metric.startswith(each)) and not metric.endswith((_LOW, _HIGH))
    ]
    rows = [
        (
            name.partition("/")[2].replace("_", " ") or name,
            _figure(metrics[name]),
            _interval(metrics, name),
            _code(name),
        )
        for name in names
        if abs(metrics[name]) < float("inf")
    ]
    return table(("", "value", "95 % interval", "metric in MLflow"), rows) if rows else ""


def _interval(metrics: Mapping[str, float], name: str) -> str:
    bounds = [metrics.get(f"{name}{end}", float("nan")) for end in (_LOW, _HIGH)]
    return " – ".join(map(_figure, bounds)) if all(abs(bound) < float("inf") for bound in bounds) else ""


def _figure(value: float) -> str:
    return f"{value:.4g}"


def _how_to_load(name: str, card: Mapping[str, Any], graph: GraphRecord | None) -> str:
    shape = (1, card["image_size"], card["image_size"], *([] if card["channels"] == 1 else [card["channels"]]))
    decision = (
        "The likeliest class is predicted."
        if card["threshold"] is None
        else f"{escape(card['labels'][1])} is predicted from a probability of {card['threshold']:.4g} on."
    )
    opening = (
        f"In the folder of a version, or at `models:/{name}@champion` of the registry. {decision}\n\n"
        f"```python\nimport mlflow\nimport numpy as np\n\n"
        f"images = np.zeros({shape}, np.float32)  # pixels as they are stored, whole numbers from 0 to 255\n"
        f'model = mlflow.pyfunc.load_model(".")\n'
        f"probabilities = model.predict(images)\nprint(dict(zip({card['labels']!r}, probabilities[0])))\n```\n\n"
    )
    if graph is not None and graph.graph is not None:
        without = (
            "Without PyTorch and without this project, by ONNX Runtime:\n\n"
            "```python\nimport numpy as np\nimport onnxruntime\n\n"
            f"images = np.zeros({shape}, np.float32)\n"
            f'session = onnxruntime.InferenceSession("{GRAPH}")\n'
            '(probabilities,) = session.run(None, {"images": images})\n```\n\n'
        )
    else:
        reason = graph.reason if graph is not None else "This classifier was not registered by its run."
        without = f"There is no ONNX file. {reason}\n\n"
    return (
        opening
        + without
        + (
            "For analysis, with the card that says all that is needed, in this project:\n\n"
            "```python\nfrom pathlib import Path\n\nfrom models.classifier import weights\n\n"
            f'classifier, card = weights.load(Path("{PACKAGE}").read_bytes())\n```\n'
        )
    )


def _code(text: str) -> Markdown:
    return Markdown(f"`{text}`")


def _list(items: Sequence[str]) -> str:
    return "".join(f"- {item}\n" for item in items)
