"""What goes wrong: each fault is tried against a program, and says what was lost."""

import os
import random
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from tests.e2e import services
from tests.soak.aftermath import computed, look, losses
from tests.soak.forked import Forks
from tests.soak.runs import Place, Program, Undisturbed, processor_seconds, run_undisturbed

_FEW, _PICTURES = 64, 4
MOST_KILLS = 6
"""Of one run, before it is left in peace."""


@dataclass
class World:
    """Where the faults are tried.

    Attributes:
        room: folder for all products.
        data: folder of the dataset.
        forks: from which runs are forked.
    """

    room: Path
    data: Path
    forks: Forks
    _undisturbed: dict[str, Undisturbed] = field(default_factory=dict)
    _preparing: dict[str, threading.RLock] = field(default_factory=lambda: defaultdict(threading.RLock))

    def place(self, program: Program, *, by_command: bool = False) -> Place:
        """Make a place with the products that a program needs.

        Args:
            program: it runs there.
            by_command: start its runs by their command, rather than fork them.
        """
        room = Path(tempfile.mkdtemp(prefix=f"{program.name}-", dir=self.room))
        place = Place(room, self.data, self._material(), None if by_command else self.forks)
        if program.before:
            shutil.copytree(self._prepared(program), place.outputs)
        return place

    def undisturbed(self, program: Program) -> Undisturbed:
        """Return what a program leaves when nothing happens; it runs once for that."""
        with self._preparing[program.name]:
            if program.name not in self._undisturbed:
                place = self.place(program)
                self._undisturbed[program.name] = run_undisturbed(place, program)
            return self._undisturbed[program.name]

    def _material(self) -> Path:
        """Make a small whole dataset, whose classifier becomes champion, and pictures from it."""
        folder = self.room / "material"
        with self._preparing["material"]:
            if not folder.exists():
                (folder / "pictures").mkdir(parents=True)
                with np.load(self.data / "pneumoniamnist.npz") as arrays:
                    np.savez(folder / "few.npz", **{name: values[:_FEW] for name, values in arrays.items()})
                    for place, image in enumerate(arrays["test_images"][:_PICTURES]):
                        Image.fromarray(image).save(folder / "pictures" / f"{place}.png")
        return folder

    def _prepared(self, program: Program) -> Path:
        """Run what a program needs, once for all that need the same."""
        names = "-".join(earlier.name for earlier in program.before)
        place = Place(self.room / f"before-{names}", self.data, self._material(), self.forks)
        with self._preparing[names]:
            if not place.room.joinpath("whole").exists():
                shutil.rmtree(place.outputs, ignore_errors=True)  # an earlier sitting was interrupted
                for earlier in program.before:
                    if place.run(earlier) != 0:
                        raise RuntimeError(f"{earlier.name} does not end well:\n{place.said()[-3000:]}")
                place.room.joinpath("whole").touch()
        return place.outputs


@dataclass
class Outcome:
    """What became of one try.

    Attributes:
        tried: how often something went wrong.
        lost: what was lost, in words.
        moments: when, so that it can be done again.
        warned: of what the runs warned.
    """

    tried: int = 0
    lost: list[str] = field(default_factory=list)
    moments: list[str] = field(default_factory=list)
    warned: set[str] = field(default_factory=set)


Fault = Callable[[World, Program, random.Random], Outcome]
BY_COMMAND = 0.1
"""Share of the runs that are killed which their command starts, as a person does; the others are forked."""


def killed(world: World, program: Program, chance: random.Random) -> Outcome:
    """Kill a run with `kill -9`, and those that go on with it, then let one end."""
    by_command = chance.random() < BY_COMMAND
    right, place, outcome = world.undisturbed(program), world.place(program, by_command=by_command), Outcome()
    for _ in range(chance.randint(1, MOST_KILLS)):
        share, everything = chance.random(), chance.random() < 0.5
        if chance.random() < 0.5:
            act = 1 + int(share * right.acts)
            moment = f"act {act} of {right.acts}"
            process = place.start(program, SOAK_ACT=str(act), SOAK_LUCK="kill_all" if everything else "kill")
            dead = place.finish(process) == -signal.SIGKILL
        else:
            seconds = share * right.processor_seconds
            moment = f"{seconds:.1f} of {right.processor_seconds:.1f} processor seconds"
            process, dead = place.start(program), False
            for used in processor_seconds(process):
                if used >= seconds:
                    (os.killpg if everything else os.kill)(process.pid, signal.SIGKILL)
                    dead = True
                    break
                time.sleep(0.05)
            dead = place.finish(process) == -signal.SIGKILL and dead
        outcome.moments.append(f"{moment}, {'all processes' if everything else 'the run alone'}")
        outcome.tried += dead
        outcome.lost += [f"lives on: {name}" for name in place.wait_until_left()]
    _run_in_peace(place, program, right, outcome)
    return outcome


def _run_in_peace(place: Place, program: Program, right: Undisturbed, outcome: Outcome) -> None:
    """Run as a person would afterwards, and compare what is there with what should be."""
    code = place.run(program)
    if code != 0:
        outcome.lost.append(f"the next run ends with {code}: {place.said()[-400:]}")
    elif "Traceback" in place.said():
        outcome.lost.append(f"the next run prints a traceback, see {place.log[-1]}")
    outcome.lost += [f"lives on: {name}" for name in place.wait_until_left()]
    outcome.lost += [f"logged: {record}" for record in place.strange()]
    _compare(place, right, outcome)


def _compare(place: Place, right: Undisturbed, outcome: Outcome) -> None:
    outcome.lost += losses(right.aftermath, look(place.outputs, place.temporary))
    outcome.warned = place.warned()
    if not outcome.lost:
        shutil.rmtree(place.room)


def _one_that_may_fail(world: World, program: Program, chance: random.Random, luck: str) -> tuple[Place, Outcome]:
    """Run with bad luck at a random act; it may end well, or with one sentence."""
    right, place, outcome = world.undisturbed(program), world.place(program), Outcome(tried=1)
    act = 1 + int(chance.random() * right.acts)
    outcome.moments.append(f"act {act} of {right.acts}")
    code = place.run(program, SOAK_ACT=str(act), SOAK_LUCK=luck)
    if code not in (0, 2):
        outcome.lost.append(f"it ends with {code}: {place.said()[-400:]}")
    elif "Traceback" in place.said():
        outcome.lost.append(f"it prints a traceback, see {place.log[-1]}")
    outcome.lost += [f"lives on: {name}" for name in place.wait_until_left()]
    return place, outcome


def unreadable(world: World, program: Program, chance: random.Random) -> Outcome:
    """Let one file of store or results be unreadable once, in a run over finished steps: nothing valid may go."""
    right = world.undisturbed(program)
    place, outcome = world.place(program), Outcome(tried=1)
    place.run(program)
    before = look(place.outputs, place.temporary).results
    act = 1 + int(chance.random() * right.acts)
    outcome.moments.append(f"act {act} of a run over finished steps")
    code = place.run(program, SOAK_ACT=str(act), SOAK_LUCK="refuse_reading")
    if code not in (0, 2) or "Traceback" in place.said():
        outcome.lost.append(f"it ends with {code}: {place.said()[-400:]}")
    if look(place.outputs, place.temporary).results != before:
        outcome.lost.append("a valid result is gone or another")
    _run_in_peace(place, program, right, outcome)
    return outcome


def store_lost(world: World, program: Program, chance: random.Random) -> Outcome:
    """Let the store vanish in mid-run, and be there again for the next."""
    place, outcome = _one_that_may_fail(world, program, chance, "vanish")
    away, store = place.outputs / "store-away", place.outputs / "store"
    if store.is_file():
        store.unlink()
    if away.exists():
        away.rename(store)
    _run_in_peace(place, program, world.undisturbed(program), outcome)
    return outcome


_IN_A_DISK_OF_ITS_OWN = """
mount -t tmpfs -o size=1g tmpfs "$OUTPUTS" && cp -a "$SOAK_BEFORE/." "$OUTPUTS" || exit 99
%s
"$@"; first=$?
%s
unset SOAK_ACT SOAK_LUCK
"$@"; second=$?
cp -a "$OUTPUTS/." "$SOAK_AFTER"; echo $first $second > "$SOAK_CODES"
"""
"""What is done in a name space of its own, where anybody may mount: a run with bad luck, and one in peace."""
_READ_ONLY = 'mkdir -p "$OUTPUTS/store"; mount --bind "$OUTPUTS/store" "$OUTPUTS/store"; mount -o remount,bind,ro %s'


def on_a_disk(before: str, after: str, luck: str = "") -> Fault:
    """Make a fault of a disk.

    Args:
        before: what is done to the disk before the run, in the words of a shell.
        after: what mends it.
        luck: what happens at a random act of the run.
    """

    def run(world: World, program: Program, chance: random.Random) -> Outcome:
        right, place, outcome = world.undisturbed(program), world.place(program), Outcome(tried=1)
        act = 1 + int(chance.random() * right.acts)
        outcome.moments.append(f"act {act} of {right.acts}" if luck else "from the beginning")
        kept, empty, codes = (place.room / name for name in ("after", "before", "codes"))
        kept.mkdir()
        place.outputs.rename(empty) if place.outputs.exists() else empty.mkdir()
        place.outputs.mkdir()
        wrapper = ("unshare", "--user", "--map-root-user", "--mount", "bash", "-c")
        wrapper = (*wrapper, _IN_A_DISK_OF_ITS_OWN % (before, after), "bash")
        places = {"SOAK_BEFORE": str(empty), "SOAK_AFTER": str(kept), "SOAK_CODES": str(codes)}
        place.finish(place.start(program, wrapper, **places, SOAK_ACT=str(act), SOAK_LUCK=luck))
        first, second = codes.read_text().split() if codes.exists() else ("99", "99")
        said = place.said()
        if first not in ("0", "2") or second != "0" or "Traceback" in said:
            outcome.lost.append(f"it ends with {first}, the next with {second}: {said[-400:]}")
        place.outputs.rmdir()
        kept.rename(place.outputs)
        outcome.lost += [f"lives on: {name}" for name in place.wait_until_left()]
        _compare(place, right, outcome)
        return outcome

    return run


disk_full = on_a_disk("", 'rm -f "$OUTPUTS/ballast"', "fill")
"""The disk of the products is full from a random act on; then there is room again."""
read_only = on_a_disk(_READ_ONLY % '"$OUTPUTS/store"', 'umount "$OUTPUTS/store"')
"""The store cannot be written; then it can."""


def crowd(*others: tuple[Program, int]) -> Fault:
    """Make the trial that a program and others run at once on one store and one tracker.

    Args:
        others: a program, and how often it runs; it needs nothing that the first one does not.
    """

    def run(world: World, program: Program, chance: random.Random) -> Outcome:
        right, place, outcome = world.undisturbed(program), world.place(program), Outcome()
        members = [program, *(other for other, times in others for _ in range(times))]
        chance.shuffle(members)
        outcome.moments.append(", ".join(member.name for member in members))
        started = [(member, place.start(member)) for member in members]
        outcome.tried = len(started)
        for member, process in started:
            if (code := place.finish(process)) != 0:
                outcome.lost.append(f"{member.name} ends with {code}, see {place.room / 'log'}")
        outcome.lost += [f"lives on: {name}" for name in place.wait_until_left()]
        found = look(place.outputs, place.temporary)
        expected, times = right.aftermath.results.items(), computed(place.outputs)
        outcome.lost += found.wrong
        outcome.lost += [f"result {key} differs" for key, digest in expected if found.results.get(key) != digest]
        outcome.lost += [f"{key} was computed {count} times" for key, count in times.items() if count > 1]
        outcome.lost += [f"logged: {record}" for record in place.strange()]
        outcome.warned = place.warned()
        if not outcome.lost:
            shutil.rmtree(place.room)
        return outcome

    return run


def clock(seconds: int) -> Fault:
    """Make the fault that the time of the day jumps in mid-run, and is right again in the next; it takes a C compiler.

    Args:
        seconds: by how much, for all processes of the run at once.
    """

    def run(world: World, program: Program, chance: random.Random) -> Outcome:
        right, place, outcome = world.undisturbed(program), world.place(program), Outcome()
        share, told, library = chance.random(), place.room / "clock", clock_library(place.room)
        if library is None:
            outcome.moments.append("left out: there is no C compiler")
            return outcome
        outcome.tried = 1
        outcome.moments.append(f"{seconds:+} s at {share:.2f} of the processor seconds")
        set_clock(told, 0)
        process = place.start(program, LD_PRELOAD=str(library), SOAK_CLOCK=str(told))
        for used in processor_seconds(process):
            if used >= share * right.processor_seconds:
                set_clock(told, seconds)
            time.sleep(0.05)
        code = place.finish(process)
        if code != 0 or "Traceback" in place.said():
            outcome.lost.append(f"it ends with {code}, see {place.log[-1]}: {place.said()[-400:]}")
        _run_in_peace(place, program, right, outcome)
        return outcome

    return run


def clock_library(folder: Path) -> Path | None:
    """Compile, into a folder, the library that lets the clock of a process jump; None without a compiler."""
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return None
    library, source = folder / "clock.so", Path(__file__).with_name("clock.c")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def set_clock(told: Path, seconds: int) -> None:
    """Let the clock of the processes that look at a file be off by so many seconds, from now on."""
    with told.open("r+b" if told.exists() else "wb") as clock:
        clock.write(seconds.to_bytes(8, sys.byteorder, signed=True))


def rotten(world: World, program: Program, chance: random.Random) -> Outcome:
    """Damage files of every kind that a finished run has left, then run again."""
    right, place, outcome = world.undisturbed(program), world.place(program), Outcome()
    not_its_own = set(place.outputs.rglob("*"))  # the next run has no reason to look at what was there before
    place.run(program)
    kinds: dict[str, list[Path]] = {}
    for file in sorted((place.outputs / "store").rglob("*")) + sorted((place.outputs / "results").rglob("*")):
        if file.is_file() and file not in not_its_own:
            parts = file.relative_to(place.outputs).parts
            kinds.setdefault("/".join(parts[:2]) if parts[1] != "sha256" else f"sha256{file.suffix}", []).append(file)
    for kind, files in sorted(kinds.items()):
        file = chance.choice(files)
        how = chance.choice(list(_DAMAGES))
        file.write_bytes(_DAMAGES[how](file.read_bytes(), chance))
        outcome.moments.append(f"{kind} {how}")
        outcome.tried += 1
    _run_in_peace(place, program, right, outcome)
    return outcome


_DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "empty": lambda content, chance: b"",
    "cut off": lambda content, chance: content[: int(chance.random() * len(content))],
    "one bit turned": lambda content, chance: _turned(content, int(chance.random() * len(content))),
    "noise": lambda content, chance: chance.randbytes(200),
    "other JSON": lambda content, chance: b'{"a": [1, null, "\\u0000"]}',
}


def _turned(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :] if content else b""


def databases_locked(seconds: float) -> Fault:
    """Make the fault that another process holds both databases for so many seconds."""

    def locked(world: World, program: Program, chance: random.Random) -> Outcome:
        right, place, outcome = world.undisturbed(program), world.place(program), Outcome()
        share = chance.random()
        outcome.moments.append(f"{share:.2f} of the processor seconds")
        process, held = place.start(program), None
        for used in processor_seconds(process):
            if held is None and used >= share * right.processor_seconds:
                held = threading.Thread(target=_hold, args=(place.outputs, seconds))
                held.start()
            time.sleep(0.05)
        code = place.finish(process)
        if held is not None:
            held.join()
            outcome.tried = 1
        if code != 0:
            outcome.lost.append(f"it ends with {code}: {place.said()[-400:]}")
        _run_in_peace(place, program, right, outcome)
        return outcome

    return locked


def server_away(name: str, seconds: float) -> Fault:
    """Make the fault that a server of `make up` is killed in mid-run, and started again so many seconds later.

    Args:
        name: of the service.
        seconds: for which it is away.
    """

    def away(world: World, program: Program, chance: random.Random) -> Outcome:
        right, place, outcome = world.undisturbed(program), world.place(program), Outcome()
        share = chance.random()
        outcome.moments.append(f"{share:.2f} of the processor seconds")
        variables = services.service_environment(place.outputs, world.data)
        _require(services.call("up", variables))
        try:
            process, back = place.start(program), threading.Timer(seconds, services.call, ("up", variables))
            for used in processor_seconds(process):
                if not outcome.tried and used >= share * _OF_THE_RUN * right.processor_seconds:
                    services.kill(name, place.outputs)
                    back.start()
                    outcome.tried = 1
                time.sleep(0.05)
            code = place.finish(process)
            outcome.moments.append(f"it ends with {code}")
            if code not in (0, 2) or "Traceback" in place.said():
                outcome.lost.append(f"it ends with {code}, see {place.log[-1]}: {place.said()[-400:]}")
            if outcome.tried:
                back.join()
            if (code := place.run(program)) != 0 or "Traceback" in place.said():
                outcome.lost.append(f"the next run ends with {code}: {place.said()[-400:]}")
        finally:
            _require(services.call("down", variables))
        outcome.lost += [f"lives on: {process}" for process in place.wait_until_left()]
        outcome.lost += [f"logged: {record}" for record in place.strange("a server was killed", "a worker was cut off")]
        _compare(place, right, outcome)
        return outcome

    return away


_OF_THE_RUN = 0.4
"""Share of a run's processor seconds that are surely its own, and not those of the server that it would start."""


def _require(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        raise RuntimeError(f"{done.args}: {done.stderr[-1000:]}")


def _hold(outputs: Path, seconds: float) -> None:
    connections = []
    for database in (outputs / "mlflow.db", outputs / "prefect" / "prefect.db"):
        if database.exists():
            connection = sqlite3.connect(database, timeout=60, isolation_level=None)
            connection.execute("BEGIN IMMEDIATE")
            connections.append(connection)
    time.sleep(seconds)
    for connection in connections:
        with closing(connection):
            connection.execute("ROLLBACK")


def run_deleted(world: World, program: Program, chance: random.Random) -> Outcome:
    """Delete the run and its experiment in MLflow, as a person does on its page, in mid-run."""
    right, place, outcome = world.undisturbed(program), world.place(program), Outcome()
    share, whole = chance.random(), chance.random() < 0.5
    outcome.moments.append(f"{share:.2f} of the processor seconds, {'the experiment' if whole else 'the run'}")
    process, done = place.start(program), False
    for used in processor_seconds(process):
        if not done and used >= share * right.processor_seconds and (place.outputs / "mlflow.db").exists():
            done = _delete(place.outputs / "mlflow.db", whole)
        time.sleep(0.05)
    outcome.tried = int(done)
    code = place.finish(process)
    if code not in (0, 2) or "Traceback" in place.said():
        outcome.lost.append(f"it ends with {code}, see {place.log[-1]}: {place.said()[-400:]}")
    _run_in_peace(place, program, right, outcome)
    return outcome


def _delete(database: Path, whole: bool) -> bool:
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        try:
            running = connection.execute("SELECT run_uuid, experiment_id FROM runs WHERE status = 'RUNNING'").fetchall()
            for run, experiment in running:
                connection.execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?", [run])
                if whole:
                    connection.execute(
                        "UPDATE experiments SET lifecycle_stage = 'deleted' WHERE experiment_id = ?", [experiment]
                    )
        except sqlite3.OperationalError:  # its tables are being made
            return False
    return bool(running)
