"""Wrong parameters of a run, each in one sentence that says what would be right."""

import pytest

from models.choices import ARCHITECTURES, ENCODERS
from models.errors import LONGEST_SENTENCE, InputError
from tasks.parameters.check import check_parameters
from tasks.parameters.training import TrainingParameters

NAMES = ("dataset", "training", "evaluation", "retrieval", "reports", "execution")
*OTHERS, LAST = map(repr, ARCHITECTURES)
*OTHER_ENCODERS, LAST_ENCODER = map(repr, ENCODERS)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"trainin": {"seed": 3}},
            f"trainin is no parameter (did you mean training?), choose from {', '.join(NAMES)}.",
        ),
        ({"zzz": 1}, f"zzz is no parameter, choose from {', '.join(NAMES)}."),
        (
            {"training": {"epoch": 3}},
            "epoch is no field of training (did you mean epochs?), choose from "
            f"{', '.join(TrainingParameters.model_fields)}.",
        ),
        (
            {"training": {"architecture": "compact82"}},
            f'training.architecture is "compact82", not {", ".join(OTHERS)} or {LAST} (did you mean compact28?).',
        ),
        ({"dataset": {"size": 29}}, "dataset.size is 29, not 28, 64, 128 or 224."),
        ({"training": 5}, "training is 5, but it has fields, such as architecture."),
        ({"training": None}, "training is null, but it has fields, such as architecture."),
        ({"training": {"epochs": 0}}, "training.epochs is 0: input should be greater than or equal to 1."),
        (
            {"training": {"epochs": "many"}},
            'training.epochs is "many": input should be a valid integer, unable to parse string as an integer.',
        ),
        (
            {"evaluation": {"label_folds": 1}},
            "evaluation.label_folds is 1: one fold leaves nothing to train on: choose 2 or more, or 0 for no audit.",
        ),
        (
            {"evaluation": {"corrupted_images": 1}},
            "evaluation.corrupted_images is 1: one image is of one class only: choose 2 or more, or 0 for none.",
        ),
        (
            {"retrieval": {"encoders": ["classifier", "metrc"]}},
            f'retrieval.encoders.1 is "metrc", not {", ".join(OTHER_ENCODERS)} or {LAST_ENCODER} '
            "(did you mean metric?).",
        ),
        (
            {"training": {"epochs": 0, "seed": -1, "batch_size": 1, "mixup": -1}},
            "training.epochs is 0: input should be greater than or equal to 1; training.batch_size is 1: input should "
            "be greater than or equal to 8; training.mixup is -1: input should be greater than or equal to 0; and 1 "
            "more.",
        ),
    ],
)
def test_a_mistake_is_one_sentence(given, sentence):
    with pytest.raises(InputError) as caught:
        check_parameters(given, NAMES)
    assert str(caught.value) == sentence


def test_what_was_given_is_shown_short_and_without_escapes():
    with pytest.raises(InputError) as caught:
        check_parameters({"\x1b[31m" * 5000: 1, "training": {"epochs": "\x1b]8;;http://x\x07" * 5000}}, NAMES)
    assert len(str(caught.value)) <= LONGEST_SENTENCE
    assert str(caught.value).isprintable()


def test_no_form_is_a_parameter_of_every_flow():
    check_parameters({"search": {"k": 3}}, ("search",))
    with pytest.raises(InputError, match="training is no parameter"):
        check_parameters({"training": {"seed": 3}}, ("search",))
