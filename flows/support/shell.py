"""Flows from the shell: options made from the flow's own forms, errors of the user in one sentence."""

import contextlib
import gc
import inspect
import json
import logging
import sys
import threading
import warnings
from collections.abc import Sequence
from typing import Any, get_args

from filelock import FileLock
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.exceptions import ParameterTypeError
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from pydantic import BaseModel, Field, ValidationError, create_model
from pydantic_settings import BaseSettings, CliApp, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from flows.support.naming import LONGEST_NAME, difference, named
from models import operating_system
from models.errors import LONGEST_SENTENCE, NO_ROOM, DiskError, InputError
from models.standard_streams import written_to
from models.text import one_line, printable
from tasks.execution import abandoned_runs
from tasks.execution.embedded_server import end_with_this_process
from tasks.execution.gpu import ensure_limit
from tasks.execution.server import is_embedded, require_server
from tasks.parameters.presets import PRESETS, Preset, form
from tasks.storage.disks import disk_error, require_room
from tasks.storage.locations import embedded_log, locks
from tasks.storage.log_files import rotate_all
from tasks.storage.proxies import require_proxies
from tasks.tracking import runs

MISTAKE = 2  # exit code of a user's mistake, as argparse has it


_HELP = " See --help for what each option takes."


class _Options(BaseSettings):
    model_config = SettingsConfigDict(
        nested_model_default_partial_update=True,
        case_sensitive=True,
        cli_avoid_json=True,
        cli_exit_on_error=False,
        cli_hide_none_type=True,
        cli_implicit_flags=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the command line only: a stray environment variable must not change a run."""
        return (init_settings,)


def main(flow: Flow[..., Any], arguments: Sequence[str] | None = None) -> int:
    """Run a flow with options from the command line.

    Args:
        flow: the flow; its arguments are forms of `tasks.parameters`.
        arguments: command line without the program's name; None takes the process's own.

    Returns:
        Exit code: 0 when the run completed, 2 after a mistake of the user or on a full disk, 130 after an interrupt.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = _options(flow, words)
        values = _forms(flow, options)
        name = one_line(options.name or "") or difference(values, PRESETS[options.preset]) or options.preset
        _quieten()
        if said := operating_system.difference():
            sys.stderr.write(f"{said}\n")
        require_room()
        require_proxies()
        require_server()
        runs.require_tracker()
        _start_embedded_server()
        gc.freeze()  # the libraries stay; to look for garbage among them takes longer than many a step
        # Heartbeats tell a server that a run is alive; one that ends with the run they would only keep from ending.
        frequency = None if is_embedded() else PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value()
        of_the_dead = abandoned_runs.closed() if is_embedded() else contextlib.nullcontext()
        with of_the_dead, temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: frequency}), named(name):
            flow(**values)
    except (ValidationError, ParameterTypeError, SettingsError) as error:
        sys.stderr.write(f"error: {_sentence(error)}\n")
        return MISTAKE
    except Exception as error:
        mistake = error if isinstance(error, InputError) else disk_error(error)
        if mistake is None:
            raise
        if isinstance(mistake, DiskError):
            logging.raiseExceptions = False  # what is still to be logged has no room either
        sys.stderr.write(f"error: {mistake}\n")
        return MISTAKE
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the next run goes on where this one was\n")
        return 130
    return 0


def parse(flow: Flow[..., Any], words: Sequence[str]) -> dict[str, BaseModel]:
    """Read a flow's arguments from the words of a command line.

    Args:
        flow: the flow.
        words: the command line.

    Returns:
        One form an argument of the flow: the preset's values, overridden by those on the command line.

    Raises:
        InputError: if the preset is unknown.
        ValidationError: if a value does not fit its field.
        SettingsError: if an option is unknown, or has no value.
        SystemExit: after `--help`.
    """
    return _forms(flow, _options(flow, words))


def _options(flow: Flow[..., Any], words: Sequence[str]) -> Any:
    preset = _preset(words)
    description = f"{inspect.getdoc(flow.fn)}\n\nDefaults shown are those of the preset {preset!r}."
    fields: dict[str, Any] = {
        "preset": (Preset, Field(preset, description="named set of values that the other options override")),
        "name": (
            str | None,
            Field(
                None,
                min_length=1,
                max_length=LONGEST_NAME,
                description="name of the run in Prefect and MLflow; without one it says what differs from the preset",
            ),
        ),
    }
    for name, parameter in inspect.signature(flow.fn).parameters.items():
        fields[name] = (parameter.annotation, Field(form(preset, name, parameter.annotation)))
    options = create_model(f"flows.{flow.fn.__name__}", __base__=_Options, __doc__=description, **fields)
    return CliApp.run(options, cli_args=_listed(flow, words))


def _listed(flow: Flow[..., Any], words: Sequence[str]) -> list[str]:
    """Give all words behind an option of texts as one list, so that a shell's pattern may stand there.

    A file whose name holds a comma stays one file.
    """
    texts = {
        f"--{name}.{field}"
        for name, parameter in inspect.signature(flow.fn).parameters.items()
        for field, known in parameter.annotation.model_fields.items()
        if known.annotation == list[str]
    }
    found: list[str] = []
    behind: list[str] | None = None
    for word in words:
        option, _, value = word.partition("=")
        if word.startswith("--"):
            behind = None
        if option in texts:
            behind = [value] if value else []
            found += [option, ""]
        elif behind is not None:
            behind.append(word)
        else:
            found.append(word)
        if behind is not None:  # a single word may be a list by itself, as `a,b` and `["a", "b"]` are
            found[-1] = behind[0] if len(behind) == 1 else json.dumps(behind)
    return found


def _forms(flow: Flow[..., Any], options: Any) -> dict[str, BaseModel]:
    return {name: getattr(options, name) for name in inspect.signature(flow.fn).parameters}


def _preset(words: Sequence[str]) -> Preset:
    """Find the preset, which decides the defaults of all other options."""
    chosen = "standard"
    for position, word in enumerate(words):
        if word == "--preset" and position + 1 < len(words):
            chosen = words[position + 1]
        elif word.startswith("--preset="):
            chosen = word.partition("=")[2]
    for preset in get_args(Preset):
        if preset == chosen:
            return preset
    raise InputError(f"--preset {printable(chosen)} is unknown: choose one of {', '.join(get_args(Preset))}.")


def _sentence(error: Exception) -> str:
    """Say in one printable line what a validation found: its first finding, and how many more there are."""
    if isinstance(error, SettingsError):
        found = printable(str(error).removeprefix("error parsing CLI: "), LONGEST_SENTENCE - len(_HELP))
        return f"{found[:1].upper()}{found[1:]}.{_HELP}"
    if not isinstance(error, ValidationError):
        return printable(error, LONGEST_SENTENCE)
    first = error.errors(include_url=False)[0]
    option = printable(".".join(map(str, first["loc"])), 60)
    if isinstance(said := first.get("ctx", {}).get("error"), InputError):  # which says all, and quotes no secret
        return printable(f"--{option}: {said}", LONGEST_SENTENCE)
    given = printable(repr(first["input"]), 40)
    more = "" if error.error_count() == 1 else f" {error.error_count() - 1} more did not fit."
    around = f" (given: {given}).{more}{_HELP}"
    return f"--{option}: {printable(first['msg'], LONGEST_SENTENCE - len(around) - len(option) - 4)}{around}"


def _quieten() -> None:
    """Keep Prefect's own bookkeeping and the tracebacks of users' mistakes out of the terminal."""
    warnings.filterwarnings("ignore", category=UserWarning, module="prefect")
    for name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
        logging.getLogger(name).addFilter(_worth_reading)
    for name in ("mlflow.store.db.utils", "mlflow.system_metrics.system_metrics_monitor"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # of an error of the database, which is raised as well


def _worth_reading(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    mistake = isinstance(error, InputError) or (isinstance(error, OSError) and error.errno in NO_ROOM)  # both are told
    text = record.getMessage()
    return not mistake and not text.startswith(("Beginning ", "Finished in state", "Failed to write result"))


def _start_embedded_server() -> None:
    """Start the server where it is embedded; first starts at once would both migrate its database.

    One's own server gets the limit that language models need; on a server elsewhere it is its operator's to set. What
    it logs is not for the terminal: of an error that it answers, a full disk for instance, the run says what is to say.
    """
    threading.Thread(target=_warm_up, name="warm-up", daemon=True).start()
    locks().mkdir(parents=True, exist_ok=True)
    if not is_embedded():
        return
    sys.stderr.write(f"Starting a Prefect server for this run, which logs to {printable(embedded_log())}\n")
    end_with_this_process()
    with FileLock(locks() / "prefect.lock"):
        rotate_all([embedded_log()])
        with written_to(embedded_log()), get_client(sync_client=True) as client:
            client.hello()
        ensure_limit()


def _warm_up() -> None:
    """Load the tracker, which every flow needs and which loads slowly, while the server starts.

    PyTorch loads with the first step that needs it: where all are hits, none does.
    """
    with contextlib.suppress(Exception):  # the flow comes to the same, and says it
        runs.prepare()
