"""Options from forms, and mistakes in one sentence."""

import errno
import logging
import threading

import pytest
from prefect import flow
from prefect.context import FlowRunContext

from flows.cases import cases
from flows.pipeline import pipeline
from flows.support.naming import run_name
from flows.support.shell import _worth_reading, main, parse
from models.errors import InputError
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.presets import PRESETS
from tasks.parameters.training import TrainingParameters


def test_defaults_are_the_standard_preset():
    values = parse(pipeline, [])
    assert set(values) == {"dataset", "training", "evaluation", "retrieval", "reports", "execution"}
    assert values["training"] == TrainingParameters()


@pytest.mark.parametrize(
    ("words", "images"),
    [
        (["--cases.images", "a.png"], ["a.png"]),
        (["--cases.images=a.png", "b,c.png", "--cases.pages", "3"], ["a.png", "b,c.png"]),  # as a shell's pattern gives
        (["--cases.pages", "3", "--cases.images", "a", "b", "--cases.images", "c"], ["a", "b", "c"]),
        (["--cases.images", '["a", "b"]'], ["a", "b"]),
        (["--cases.images", "a,b"], ["a", "b"]),
    ],
)
def test_an_option_of_texts_takes_several_words(words, images):
    assert parse(cases, words)["cases"].images == images


@pytest.mark.parametrize("words", [["--preset", "debug"], ["--preset=debug"]])
def test_a_preset_fills_in_the_forms(words):
    values = parse(pipeline, words)
    for name, fields in PRESETS["debug"].items():
        for field, value in fields.items():
            assert getattr(values[name], field) == value
    assert values["training"].learning_rate == TrainingParameters().learning_rate


def test_options_override_the_preset_and_leave_the_rest_of_it():
    words = "--preset debug --training.epochs 3 --retrieval.k_values 1,7 --dataset.path a.npz --training.loss focal"
    values = parse(pipeline, words.split())
    assert values["training"].epochs == 3
    assert values["training"].batch_size == PRESETS["debug"]["training"]["batch_size"]
    assert values["training"].loss == "focal"
    assert values["retrieval"].k_values == [1, 7]
    assert values["dataset"].path == "a.npz"
    assert values["dataset"].limit == PRESETS["debug"]["dataset"]["limit"]


@pytest.mark.parametrize("size", [28, 64, 128, 224])
def test_every_image_size_can_be_asked_for(size):
    assert parse(pipeline, ["--dataset.size", str(size)])["dataset"].size == size


def test_the_environment_changes_no_option(monkeypatch):
    monkeypatch.setenv("training", '{"epochs": 77}')
    monkeypatch.setenv("TRAINING", '{"epochs": 77}')
    assert parse(pipeline, [])["training"] == TrainingParameters()


def test_help_lists_every_field_with_its_description(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")  # wide enough that no line is broken, within a word perhaps
    with pytest.raises(SystemExit) as ended:
        parse(pipeline, ["--preset", "debug", "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, field in TrainingParameters.model_fields.items():
        assert f"--training.{name}" in text
        assert field.description in text
    assert f"(default: {PRESETS['debug']['training']['batch_size']})" in text


@pytest.mark.parametrize(
    ("error", "is_read"),
    [
        (None, True),
        (InputError("It is no picture."), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (OSError(errno.EIO, "Input/output error"), True),
        (ValueError("a fault"), True),
    ],
)
def test_what_a_run_says_in_a_sentence_is_not_logged_with_a_traceback_besides(error, is_read):
    record = logging.makeLogRecord(
        {"msg": "An error was encountered", "exc_info": error and (type(error), error, None)}
    )
    assert _worth_reading(record) == is_read


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--training.epochs 0", "--training.epochs: Input should be greater than or equal to 1 (given: '0')"),
        ("--training.loss hinge", "--training.loss"),
        ("--dataset.size 30", "--dataset.size"),
        ("--retrieval.k_values 0", "--retrieval.k_values"),
        ("--name ", "--name"),
        ("--name " + "x" * 101, "--name: String should have at most 100 characters"),
        ("--preset fast", "--preset fast is unknown: choose one of quickstart, standard, debug."),
        ("--no-such-option 1", "Unrecognized arguments: --no-such-option 1. See --help for"),
        ("--no-such-\x1b[31moption", r"Unrecognized arguments: --no-such-\x1b[31moption. See --help for"),
        ("--training.epochs", "Argument --training.epochs: expected one argument. See --help for"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_exit_code_2(words, told, capsys):
    assert main(pipeline, words.split()) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.startswith("error: ") and error.count("\n") == 1 and error[:-1].isprintable()


@pytest.fixture
def _warm():
    """Let what `main` loads in the background end with the test: pytest's own loops cannot stand new modules."""
    yield
    for thread in threading.enumerate():
        if thread.name == "warm-up":
            thread.join()


@flow
def refuse(dataset: DatasetParameters = DatasetParameters()) -> None:  # noqa: B008
    """Refuse."""
    raise InputError(f"{dataset.path} is no dataset: give another.")


@flow
def interrupt(dataset: DatasetParameters = DatasetParameters()) -> None:  # noqa: B008
    """Interrupt."""
    raise KeyboardInterrupt


@pytest.mark.usefixtures("prefect_server", "outputs", "_warm")
@pytest.mark.parametrize(
    "words",
    [
        ["--training.epochs", "1" * 1_000_000],
        ["--training.loss", "\x1b[2Jx\n" * 100_000],
        ["--dataset.name", "x" * 1_000_000, "--training.epochs", "0", "--retrieval.k_values", "0"],
        ["--retrieval.k_values=" + ",".join(["-1"] * 100_000)],
        ["--training.architecture", "[red]"],
        ["--preset", "\x1b]0;" + "y" * 1_000_000],
    ],
)
def test_whatever_an_option_holds_the_sentence_is_short_and_printable(words, capsys):
    assert main(pipeline, words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert len(line) <= len("error: ") + 300
    assert line.isprintable()
    assert line.startswith(f"error: {words[0].partition('=')[0]}")
    assert line.endswith(("See --help for what each option takes.", "."))


def test_a_mistake_found_in_the_flow_is_one_sentence_and_exit_code_2(capsys):
    assert main(refuse, ["--dataset.path", "x.npz"]) == 2
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1] == "error: x.npz is no dataset: give another."
    assert "Traceback" not in captured.err + captured.out


@pytest.mark.usefixtures("prefect_server", "outputs", "_warm")
def test_an_interrupt_says_that_the_next_run_goes_on(capsys):
    assert main(interrupt, []) == 130
    assert "the next run goes on where this one was" in capsys.readouterr().err


NAMES = []


@flow(flow_run_name=run_name)
def note(dataset: DatasetParameters = DatasetParameters(), training: TrainingParameters = TrainingParameters()) -> None:  # noqa: B008
    """Note the name of the run."""
    NAMES.append(FlowRunContext.get().flow_run.name)


@pytest.mark.usefixtures("prefect_server", "outputs", "_warm")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "standard"),
        ("--preset debug", "debug"),
        ("--preset debug --training.epochs 3 --training.seed 2", "3 epochs · seed 2"),
        ("--training.loss focal --name Anna", "Anna"),
    ],
)
def test_a_run_is_named_by_what_differs_from_its_preset_or_as_it_is_wanted(words, told):
    assert main(note, words.split()) == 0
    assert NAMES.pop() == told
