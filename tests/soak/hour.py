"""`make soak ARGS="--services 60"`: an hour of the services of `make up`, at work, and what they take meanwhile.

Schedules that come once a night or a week else come every few minutes: retrieval, classification, the inbox. Beside
them searches are triggered, X-rays are dropped on the page and into the inbox, and sweeps of new seeds trained. Every
fifteen seconds the memory, file handles and threads of each service are noted. At the end no run may be lost or have
failed, and no log may hold an error; whether the memory stays flat is for people to judge, by the table.
"""

import io
import json
import sys
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from PIL import Image
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.e2e import services
from tests.server_logs import unexpected
from tests.support.smallest import SMALLEST

SAMPLE_SECONDS = 15
LATE_SECONDS = 60
_PAGE = 200
_CLEARING_SECONDS = 1800  # that runs may take which are under way at the end


class Sample(NamedTuple):
    """What a service took at a moment.

    Attributes:
        seconds: since the beginning.
        rss: resident memory, in MiB.
        pss: the same with shared pages shared out, in MiB.
        handles: open files, sockets and the like.
        threads: of the service with the processes that belong to it.
    """

    seconds: float
    rss: float
    pss: float
    handles: int
    threads: int


class Trend(NamedTuple):
    """How a series of measurements went.

    Attributes:
        first: mean of the first quarter.
        last: mean of the last quarter.
        slope: of the straight line of least squares, an hour.
    """

    first: float
    last: float
    slope: float


def trend(seconds: Sequence[float], values: Sequence[float]) -> Trend:
    """Sum up a series.

    Args:
        seconds: moments, two different ones at least.
        values: what was measured then.
    """
    times, measured = np.asarray(seconds, float), np.asarray(values, float)
    quarter = max(len(measured) // 4, 1)
    centred = times - times.mean()
    slope = float(centred @ measured / (centred @ centred))
    return Trend(float(measured[:quarter].mean()), float(measured[-quarter:].mean()), 3600 * slope)


@dataclass
class World:
    """The services and what is done with them."""

    notes: dict[str, Any]
    outputs: Path
    client: SyncPrefectClient
    forms: dict[str, dict[str, Any]]
    images: np.ndarray

    def picture(self, number: int) -> bytes:
        """Draw an X-ray that no run has seen."""
        levels = self.images[number % len(self.images)].astype(float)
        noise = np.random.default_rng(number).normal(0, 2, (112, 112))
        large = np.kron(levels, np.ones((4, 4))) + noise
        file = io.BytesIO()
        Image.fromarray(large.clip(0, 255).astype(np.uint8)).save(file, "PNG")
        return file.getvalue()


def hour(room: Path, data: Path, minutes: float, every: float) -> int:
    """Let the services work, and print what came of it.

    Args:
        room: where the products lie.
        data: folder of the dataset.
        minutes: for how long.
        every: seconds between two searches; all else comes less often.

    Returns:
        Exit code: 1 where a run was lost or failed, or a log holds an error.
    """
    outputs = room / "outputs"
    variables = services.service_environment(outputs, data, OMP_NUM_THREADS="1")
    done = services.call("up", variables)
    if done.returncode:
        raise RuntimeError(done.stderr)
    notes = json.loads((outputs / "services.json").read_text())
    try:
        with (
            temporary_settings({PREFECT_API_URL: notes["prefect_api"]}),
            SyncPrefectClient(notes["prefect_api"]) as client,
        ):
            world = World(notes, outputs, client, *_material(room, data))
            _prepare(world)
            first = run_deployment("retrieval/retrieval", parameters=world.forms, timeout=_CLEARING_SECONDS)
            if not (first.state and first.state.is_completed()):
                raise RuntimeError(f"the first run, on which all else stands, did not end well: {first.state}")
            samples, sent = _work(world, 60 * minutes, every)
            end = datetime.now(UTC)
            _clear(client, end)
            lost = _tell_of_runs(client, sent, end)
    finally:
        services.call("down", variables)
    lost += _tell_of_logs(outputs / "services")
    _tell_of_services(samples)
    return int(lost > 0)


def _material(room: Path, data: Path) -> tuple[dict[str, dict[str, Any]], np.ndarray]:
    """Make a small whole dataset, whose classifier becomes champion; return its forms and the images of X-rays."""
    with np.load(data / "pneumoniamnist.npz") as arrays:
        np.savez(room / "few.npz", **{name: values[:240] for name, values in arrays.items()})
        images = arrays["test_images"].copy()
    named = {name: dict(SMALLEST[name]) for name in ("dataset", "training", "evaluation", "retrieval")}
    named["dataset"] = {"path": str(room / "few.npz")}
    return named, images


def _prepare(world: World) -> None:
    """Let what starts by itself use the small dataset, or wait."""
    (follow,) = [each for each in world.client.read_automations() if each.name == "Index anew for a new champion"]
    world.client.pause_automation(follow.id)
    cases = world.client.read_deployment_by_name("cases/cases").id  # for what is dropped on the page
    world.client.update_deployment(cases, DeploymentUpdate(parameters={"dataset": world.forms["dataset"]}))


def _schedules(world: World, every: float) -> None:
    """Let the deployments that have a schedule go by a fast one."""
    dataset = {"dataset": world.forms["dataset"]}
    trained = {name: world.forms[name] for name in ("dataset", "training", "evaluation")}
    judged = trained | {"retrieval": world.forms["retrieval"] | {"classifier": "champion"}}
    fast = (
        ("cases-inbox/cases-inbox", 3, {"cases": {"pages": 2}} | dataset),
        ("classification/classification", 5, trained),
        ("retrieval/retrieval-nightly", 6, judged),
    )
    for name, ticks, parameters in fast:
        clock = IntervalSchedule(interval=timedelta(seconds=ticks * every), anchor_date=datetime.now(UTC))
        made = DeploymentScheduleCreate(schedule=clock, active=True, parameters=parameters, slug="fast")
        world.client.create_deployment_schedules(world.client.read_deployment_by_name(name).id, [made])


def _work(world: World, seconds: float, every: float) -> tuple[dict[str, list[Sample]], list[str]]:
    """Trigger and drop what comes, and measure; return what was measured, by service, and the runs asked for."""
    _schedules(world, every)
    samples: dict[str, list[Sample]] = defaultdict(list)
    sent: list[str] = []
    inbox = world.outputs / "inbox"
    inbox.mkdir(exist_ok=True)
    begun = time.monotonic()
    tick = round_ = 0
    while (now := time.monotonic() - begun) < seconds:
        for name, sample in _samples(world.notes, now):
            samples[name].append(sample)
        if now >= tick * every:
            sent += _triggered(world, tick)
            if tick % 2 == 0:
                (inbox / f"{tick}.png").write_bytes(world.picture(2 * tick))
            tick += 1
        round_ += 1
        if round_ % 20 == 0:
            _say(f"{now / 60:.0f} min: {len(sent)} runs asked for; {_resident(samples)}")
        time.sleep(max(0.0, round_ * SAMPLE_SECONDS - (time.monotonic() - begun)))
    return samples, sent


def _triggered(world: World, tick: int) -> Iterator[str]:
    """Ask for what is due; yield the runs' ids."""
    search = {"search": {"index": tick % 200, "k": 5}}
    yield str(run_deployment("search/search", parameters=search, timeout=0).id)
    if tick % 4 == 1:
        yield _dropped(world, tick)
    if tick % 7 == 3:
        trials = {"sweep": {"seeds": [tick, tick + 1], "at_once": 1}}
        form = {name: world.forms[name] for name in ("dataset", "training", "evaluation")} | trials
        yield str(run_deployment("sweep/sweep", parameters=form, timeout=0).id)


def _dropped(world: World, tick: int) -> str:
    """Drop an X-ray on the page, as a person's browser does."""
    named = {"Content-Type": "application/octet-stream", "X-Picture-Name": f"{tick}.png"}
    picture = _ask(world, "PUT", "/uploads", world.picture(2 * tick + 1), named)["picture"]
    asked = json.dumps({"pictures": [picture]}).encode()
    address = str(_ask(world, "POST", "/runs", asked, {"Content-Type": "application/json"})["address"])
    with urllib.request.urlopen(world.notes["page"] + address, timeout=300) as shown:  # as the browser does then
        shown.read()
    return address.rpartition("/")[2]


def _ask(world: World, method: str, path: str, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    request = urllib.request.Request(world.notes["page"] + path, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=300) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def _samples(notes: dict[str, Any], now: float) -> Iterator[tuple[str, Sample]]:
    """Measure each service, without the runs that a worker has started."""
    for entry in notes["processes"]:
        own = psutil.Process(entry["pid"])
        family = [own] if entry["name"].endswith("-worker") else [own, *own.children(recursive=True)]
        measured = []
        for process in family:
            try:
                memory = process.memory_full_info()
                measured.append((memory.rss, memory.pss, process.num_fds(), process.num_threads()))
            except psutil.NoSuchProcess:  # a child that has just ended
                continue
        rss, pss, handles, threads = map(sum, zip(*measured, strict=True))
        yield entry["name"], Sample(now, rss / 2**20, pss / 2**20, handles, threads)


def _clear(client: SyncPrefectClient, end: datetime) -> None:
    """Wait until what was due at the end has ended; what schedules bring later does not count."""
    deadline = time.monotonic() + _CLEARING_SECONDS
    while time.monotonic() < deadline:
        if not [run for run in _runs(client) if not _final(run) and (run.expected_start_time or end) <= end]:
            return
        time.sleep(5)


def _final(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()


def _runs(client: SyncPrefectClient) -> list[FlowRun]:
    """Return all runs of deployments: those within others end with them."""
    found: list[FlowRun] = []
    while True:
        page = client.read_flow_runs(limit=_PAGE, offset=len(found), sort=FlowRunSort.ID_DESC)
        found += page
        if len(page) < _PAGE:
            return [run for run in found if run.deployment_id is not None]


def _tell_of_runs(client: SyncPrefectClient, sent: Sequence[str], end: datetime) -> int:
    """Print a table of runs; return how many were lost or failed."""
    runs = _runs(client)
    names = {each.id: each.name for each in client.read_deployments()}
    lost = len(set(sent) - {str(run.id) for run in runs})
    now = datetime.now(UTC)
    by_name: dict[str, Counter[str]] = defaultdict(Counter)
    waits: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        if run.expected_start_time is not None and run.expected_start_time > end:
            continue  # of a schedule that goes on
        name = names.get(run.deployment_id, "?")
        ended = run.state.type.value.lower() if run.state is not None and _final(run) else "not ended"
        skipped = ended == "cancelled" and run.start_time is None  # the one before it was under way still
        by_name[name]["skipped" if skipped else ended] += 1
        if run.start_time is not None and run.expected_start_time is not None:
            waits[name].append((run.start_time - run.expected_start_time).total_seconds())
        elif not _final(run):
            waits[name].append((now - run.expected_start_time).total_seconds() if run.expected_start_time else 0.0)
    words = ("completed", "skipped", "failed", "crashed", "cancelled", "not ended")
    late = f"late (> {LATE_SECONDS} s)"
    _say(f"\n{'runs of':<26}{'due':>6}" + "".join(f"{word:>11}" for word in words) + f"{late:>15}{'longest wait':>14}")
    for name, counts in sorted(by_name.items()):
        slow = sum(wait > LATE_SECONDS for wait in waits[name])
        said = "".join(f"{counts[word]:>11}" for word in words)
        _say(f"{name:<26}{counts.total():>6}{said}{slow:>15}{max(waits[name], default=0.0):>12.0f} s")
        lost += sum(counts[word] for word in words[2:])
    for run in runs:
        if _final(run) and run.state is not None and (run.state.is_failed() or run.state.is_crashed()):
            _say(f"  {names.get(run.deployment_id, '?')} {run.name}: {run.state.type.value}: {run.state.message}")
    _say(f"lost or not well ended: {lost}")
    return lost


def _tell_of_logs(folder: Path) -> int:
    """Print the errors in the services' logs; return how many there are."""
    found = [
        (file.name, record)
        for file in sorted(folder.glob("*.log"))
        for record in unexpected(file.read_text(errors="replace"), ["a worker was cut off"])
    ]
    for name, record in found:
        _say(f"{name}: {record}")
    _say(f"errors in logs: {len(found)}")
    return len(found)


def _tell_of_services(samples: dict[str, list[Sample]]) -> None:
    """Print the mean of the first and the last quarter and the slope an hour of all that was measured."""
    _say(f"\n{'service':<14}{'samples':>8}" + "".join(f"{name:>30}" for name in Sample._fields[1:]))
    for name, taken in samples.items():
        seconds = [sample.seconds for sample in taken]
        columns = [trend(seconds, [float(sample[column]) for sample in taken]) for column in range(1, 5)]
        said = "".join(f"{each.first:>10.1f} → {each.last:>6.1f} ({each.slope:>+7.1f}/h)" for each in columns)
        _say(f"{name:<14}{len(taken):>8}{said}")


def _resident(samples: dict[str, list[Sample]]) -> str:
    return ", ".join(f"{name} {taken[-1].rss:.0f} MiB, {taken[-1].handles} handles" for name, taken in samples.items())


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
