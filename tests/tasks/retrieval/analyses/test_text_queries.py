import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

from models.errors import InputError
from tasks.retrieval.analyses.text_queries import (
    PROMPTS,
    Prompt,
    PromptSet,
    best_and_worst,
    evaluate_prompts,
    prompt_table,
    read_prompts,
    text_markdown,
    text_metrics,
    zero_shot,
    zero_shot_by_pair,
)

NAMES = ("normal", "pneumonia")
SETTINGS = {"samples": 300, "seed": 0}


@pytest.fixture
def prompts():
    texts = ["healthy", "clear", "no finding", "pneumonia", "opacity", "infiltrate"]
    made = tuple(Prompt(f"p{place}", text, place // 3) for place, text in enumerate(texts))
    return PromptSet("7", NAMES, made, ((0, 3), (2, 5)))


@pytest.fixture
def vectors(prompts):
    generator = np.random.default_rng(0)
    labels = generator.permutation(np.repeat([0, 1], [30, 50]))
    direction = generator.normal(size=8)
    images = generator.normal(size=(80, 8)) + np.outer(labels - 0.5, direction)
    texts = generator.normal(size=(6, 8)) + np.outer(prompts.labels - 0.5, direction)
    return texts, images, labels


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_file_in_use_is_valid_and_its_pairs_share_most_of_their_words():
    prompts = read_prompts()
    assert [int((prompts.labels == label).sum()) for label in (0, 1)] == [8, 8]
    assert prompts.version == json.loads(PROMPTS.read_text())["version"]
    assert len(prompts.pairs) == 5
    for normal, pneumonia in prompts.pairs:
        assert (prompts.labels[normal], prompts.labels[pneumonia]) == (0, 1)
        first, second = (set(prompts.texts[place].lower().split()) for place in (normal, pneumonia))
        assert len(first ^ second) <= 4  # at most two words of each


def valid():
    return {
        "version": "1",
        "prompts": {
            "normal": [{"id": "n", "text": "clear lungs"}],
            "pneumonia": [{"id": "p", "text": "pneumonia"}, {"id": "q", "text": " opacity "}],
        },
        "pairs": [["n", "q"]],
    }


def test_a_file_is_read_class_after_class(tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(valid()))
    assert read_prompts(path) == PromptSet(
        "1", NAMES, (Prompt("n", "clear lungs", 0), Prompt("p", "pneumonia", 1), Prompt("q", "opacity", 1)), ((0, 2),)
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda file: file.pop("version"), "version"),
        (lambda file: file.update(extra=1), "extra"),
        (lambda file: file["prompts"].update(normal=[]), "prompts.normal"),
        (lambda file: file["prompts"]["normal"][0].update(text="  "), "prompts.normal.0.text"),
        (lambda file: file["prompts"]["pneumonia"][0].update(id="n"), "the id 'n' twice"),
        (lambda file: file["prompts"]["pneumonia"][0].update(text="clear lungs"), "the text 'clear lungs' twice"),
        (lambda file: file.update(pairs=[["n", "x"]]), "pairs 'x', which is no pneumonia prompt"),
        (lambda file: file.update(pairs=[["p", "n"]]), "pairs 'p', which is no normal prompt"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path, change, words):
    content = valid()
    change(content)
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as error:
        read_prompts(path)
    assert words in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [None, "no JSON"])
def test_a_missing_or_damaged_file_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "prompts.json"
    if content:
        path.write_text(content)
    with pytest.raises(InputError, match=r"prompts\.json"):
        read_prompts(path)


def test_figures_of_each_prompt_agree_with_a_naive_ranking(prompts, vectors):
    texts, images, labels = vectors
    protocol = evaluate_prompts(texts, prompts.labels, images, labels, [1, 5])
    for place, prompt in enumerate(prompts.prompts):
        cosines = np.array([cosine(texts[place], image) for image in images])
        relevant = labels == prompt.label
        nearest = relevant[np.argsort(-cosines)]
        assert protocol.result.values["precision_at_1"][place] == nearest[0]
        assert protocol.result.values["precision_at_5"][place] == nearest[:5].mean()
        assert protocol.result.values["average_precision"][place] == pytest.approx(
            average_precision_score(relevant, cosines)
        )
        share = [30 / 80, 50 / 80][prompt.label]
        assert protocol.chance.values["precision_at_5"][place] == pytest.approx(share)


def test_no_image_is_taken_for_a_prompt_and_left_out(prompts):
    images = np.eye(6, 8)
    labels = prompts.labels
    # Each prompt is the very vector of one image, which it must find.
    result = evaluate_prompts(images, labels, images, labels, [1, 6]).result
    assert result.values["precision_at_1"].tolist() == [1] * 6
    assert result.values["precision_at_6"].tolist() == [0.5] * 6


def test_the_best_and_the_worst_prompt_of_each_class(prompts, vectors):
    texts, images, labels = vectors
    result = evaluate_prompts(texts, prompts.labels, images, labels, [5]).result
    result.values["precision_at_5"][:] = [0.4, 0.8, 0.8, 0.6, 0.6, 0.6]
    result.values["average_precision"][:] = [0.9, 0.5, 0.6, 0.7, 0.9, 0.8]
    assert best_and_worst(result, k=5).tolist() == [2, 0, 4, 3]
    single = evaluate_prompts(texts[:1], prompts.labels[:1], images, labels, [5]).result
    assert best_and_worst(single, k=5).tolist() == [0]


def test_zero_shot_agrees_with_scikit_learn_on_a_softmax_of_averaged_prompts(prompts, vectors):
    texts, images, labels = vectors
    texts = texts * np.array([1, 9, 0.1, 2, 5, 0.3])[:, None]  # lengths must not weigh
    found = zero_shot(texts, prompts.labels, images, labels, **SETTINGS)
    units = [text / np.linalg.norm(text) for text in texts]
    directions = [sum(units[:3]), sum(units[3:])]
    logits = 100 * np.array([[cosine(image, direction) for direction in directions] for image in images])
    probabilities = np.exp(logits[:, 1]) / np.exp(logits).sum(axis=1)
    assert found.auc.value == pytest.approx(roc_auc_score(labels, logits[:, 1] - logits[:, 0]))
    assert found.balanced_accuracy.value == pytest.approx(balanced_accuracy_score(labels, probabilities > 0.5))
    assert np.mean(found.recalls) == pytest.approx(found.balanced_accuracy.value)
    assert found.recalls[0] == pytest.approx((probabilities[labels == 0] <= 0.5).mean())
    np.testing.assert_allclose(found.scores, (logits[:, 1] - logits[:, 0]) / 100, atol=1e-6)


def test_zero_shot_intervals_agree_with_a_loop_over_resampled_images(prompts, vectors):
    texts, images, labels = vectors
    found = zero_shot(texts, prompts.labels, images, labels, samples=2000, seed=0)
    generator = np.random.default_rng(5)
    areas, accuracies = [], []
    for _ in range(2000):
        normal, pneumonia = (
            generator.choice(found.scores[labels == label], (labels == label).sum()) for label in (0, 1)
        )
        areas.append((pneumonia[:, None] > normal).mean())
        accuracies.append(((normal <= 0).mean() + (pneumonia > 0).mean()) / 2)
    for rate, values in ((found.auc, areas), (found.balanced_accuracy, accuracies)):
        assert (rate.low, rate.high) == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.02)


def test_an_image_between_both_classes_is_predicted_as_the_first():
    found = zero_shot(np.eye(2), np.array([0, 1]), np.array([[1, 1], [2, 1], [1, 2]]), np.array([0, 1, 1]), **SETTINGS)
    assert found.recalls == (1.0, 0.5)


def test_images_of_one_class_leave_the_figures_open(prompts, vectors):
    texts, images, labels = vectors
    found = zero_shot(texts, prompts.labels, images[labels == 1], labels[labels == 1], **SETTINGS)
    assert np.isnan([*found.auc[:3], *found.balanced_accuracy[:3], found.recalls[0]]).all()
    protocol = evaluate_prompts(texts, prompts.labels, images[labels == 1], labels[labels == 1], [5])
    assert not any(np.isnan(list(text_metrics(protocol, found, [], NAMES).values())))


def test_a_pair_uses_its_two_prompts_alone(prompts, vectors):
    texts, images, labels = vectors
    found = zero_shot_by_pair(prompts, texts, images, labels, **SETTINGS)
    for pair, (normal, pneumonia) in zip(found, prompts.pairs, strict=True):
        scores = [cosine(image, texts[pneumonia]) - cosine(image, texts[normal]) for image in images]
        assert pair.auc.value == pytest.approx(roc_auc_score(labels, scores))


def test_metrics_are_means_over_the_prompts_of_a_class(prompts, vectors):
    texts, images, labels = vectors
    protocol = evaluate_prompts(texts, prompts.labels, images, labels, [1, 5])
    pairs = zero_shot_by_pair(prompts, texts, images, labels, **SETTINGS)
    ensemble = zero_shot(texts, prompts.labels, images, labels, **SETTINGS)
    metrics = text_metrics(protocol, ensemble, pairs, NAMES)
    precision = protocol.result.values["precision_at_5"]
    assert metrics["text/precision_at_5"] == pytest.approx(precision.mean())
    for label, name in enumerate(NAMES):
        assert metrics[f"text/precision_at_5_{name}"] == pytest.approx(precision[3 * label : 3 * label + 3].mean())
        assert metrics[f"chance/text/precision_at_5_{name}"] == pytest.approx([30 / 80, 50 / 80][label])
    assert metrics["text/map"] == pytest.approx(protocol.result.values["average_precision"].mean())
    assert metrics["zero_shot/auc_ci_low"] < metrics["zero_shot/auc"] < metrics["zero_shot/auc_ci_high"]
    areas = [pair.auc.value for pair in pairs]
    assert (metrics["zero_shot/pair_auc_min"], metrics["zero_shot/pair_auc_max"]) == (min(areas), max(areas))


def test_the_tables_name_every_prompt_and_pair(prompts, vectors):
    texts, images, labels = vectors
    protocol = evaluate_prompts(texts, prompts.labels, images, labels, [5])
    ensemble = zero_shot(texts, prompts.labels, images, labels, **SETTINGS)
    pairs = zero_shot_by_pair(prompts, texts, images, labels, **SETTINGS)
    text = text_markdown(ensemble, pairs, prompts)
    listed = prompt_table(prompts, protocol, k=5)
    assert "file version 7" in listed
    assert f"| opacity | pneumonia | {protocol.result.values['precision_at_5'][4]:.3f} | 0.625 |" in listed
    assert f"| no finding / infiltrate | {pairs[1].auc.value:.3f} (" in text
    assert f"| all prompts of each class | {ensemble.auc.value:.3f} (" in text
