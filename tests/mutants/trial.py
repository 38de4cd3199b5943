"""Try faults on the tests of a module, in forked processes; no file is changed.

Most faults lie within a function. The tests are then imported and collected once; a process is forked for each fault,
puts the changed code into the functions that exist already, and runs the tests that call them, the quickest first. What
is not seen so, and a fault that is met when the module is imported, gets a process that imports the changed module in
the place of the real one and runs all tests of the module up to the first failure.
"""

import ast
import contextlib
import functools
import gc
import importlib.abc
import importlib.util
import itertools
import json
import math
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import IO, Any

import pytest
from _pytest.runner import runtestprotocol

from tests.mutants.faults import CHECKOUT, Mutant

_PATIENCE = 10  # times the processor time that the tests take without a fault, and this many seconds
_WAITS = 600  # seconds that nothing may hang
_MEMORY = 4 << 30  # bytes beyond what a process has when it is forked
_OPTIONS = "-x -q -p no:cacheprovider -p no:xdist -p no:rerunfailures --no-header --tb=no"


class TestsFail(Exception):  # noqa: N818
    """The tests of a module fail without any fault."""

    __test__ = False


def tests_of(module: str) -> Path:
    """Return the file of a module's own tests, below the checkout."""
    return Path("tests") / Path(module).parent / f"test_{Path(module).name}"


def try_all(module: str, mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, bool]]:
    """Try faults of one module.

    Yields:
        Each fault, and whether a test saw it.

    Raises:
        TestsFail: the tests of the module fail without any fault.
    """
    plain = (CHECKOUT / module).read_text()
    passed, usual = _forked(lambda: _tested(module, plain))
    if not passed:
        raise TestsFail(module)
    seen = set(_seen_at_once(module, mutants))
    for mutant in mutants:
        yield mutant, mutant in seen or not _forked(lambda: _tested(module, mutant.source()), usual)[0]  # noqa: B023


def _forked(act: Callable[[], int], usual: float = 0.0, waits: float = _WAITS) -> tuple[bool, float]:
    """Do something in a process of its own.

    Args:
        act: gives its exit code.
        usual: seconds of the processor that it takes without a fault, if known.
        waits: seconds after which it is ended.

    Returns:
        Whether it ended with 0; seconds of the processor that it took.
    """
    with tempfile.TemporaryDirectory(prefix="pneumonia-mutants-", ignore_cleanup_errors=True) as room:
        child = os.fork()
        if child == 0:
            _be_bounded_and_exit(act, usual, room)
        deadline = time.monotonic() + waits
        try:
            while True:
                ended, status, used = os.wait4(child, os.WNOHANG)
                if ended:
                    return status == 0, used.ru_utime + used.ru_stime
                if time.monotonic() > deadline:
                    return False, waits
                time.sleep(0.01)
        finally:  # also what the tests started and left
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)


def _be_bounded_and_exit(act: Callable[[], int], usual: float, room: str) -> None:
    code = 70
    try:
        os.environ["TMPDIR"] = tempfile.tempdir = room  # nothing of it is removed at such an end
        os.setsid()
        memory = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + _MEMORY
        bounds = {resource.RLIMIT_AS: memory} | ({resource.RLIMIT_CPU: int(_PATIENCE * (usual + 1))} if usual else {})
        for kind, most in bounds.items():
            resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))
        code = act()
    finally:
        os._exit(code)


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module another text."""

    def __init__(self, module: str, source: str) -> None:
        self.name = module.removesuffix(".py").replace("/", ".")
        self.path, self.source = str(CHECKOUT / module), source

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Find the module, and no other."""
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        """Make the module of the text."""
        exec(compile(self.source, self.path, "exec"), module.__dict__)


def _tested(module: str, source: str, *plugins: object) -> int:
    """Run the tests of a module that has some text, in this process, which has not imported it."""
    sys.meta_path.insert(0, _Changed(module, source))
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
        return int(pytest.main([*_OPTIONS.split(), str(tests_of(module))], plugins=plugins))


_Place = tuple[str, int]
"""Name of a function within its module, and the number of its first line."""


def _functions(mutant: Mutant) -> set[_Place]:
    """Find the functions whose bodies a fault changes; none where it changes anything else."""
    plain, changed = (_bodies(text) for text in ((CHECKOUT / mutant.module).read_text(), mutant.source()))
    if plain.keys() != changed.keys() or plain[_REST] != changed[_REST]:
        return set()
    return {place for place in plain if plain[place] != changed[place]}


_REST = ("", 0)


def _bodies(text: str) -> dict[_Place, str]:
    """Write the body of each function of a module, but for those within others, and all else under `_REST`."""
    tree, found = ast.parse(text), {}

    def visit(nodes: Sequence[ast.stmt], prefix: str) -> None:
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min(each.lineno for each in (node, *node.decorator_list))
                found[prefix + node.name, first] = "".join(map(ast.dump, node.body))
                node.body = []
            elif isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")

    visit(tree.body, "")
    return found | {_REST: ast.dump(tree)}


def _codes(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from _codes(each)


def _place(code: CodeType) -> _Place:
    return code.co_qualname, code.co_firstlineno


def _seen_at_once(module: str, mutants: Sequence[Mutant]) -> list[Mutant]:
    """Find faults within functions that a test sees, without importing the module anew for each."""
    within = {number: found for number, mutant in enumerate(mutants) if (found := _functions(mutant))}
    with tempfile.TemporaryFile("w+") as told:  # which a forked process shares
        plugin = _Collected(module, mutants, within, told)
        if not within or not _forked(lambda: _tested(module, plugin.plain, plugin), waits=math.inf)[0]:
            return []
        told.seek(0)
        return [mutants[number] for number in json.loads(told.read() or "[]")]


class _Collected:
    """A plugin of pytest that runs the collected tests once for each fault."""

    def __init__(self, module: str, mutants: Sequence[Mutant], within: dict[int, set[_Place]], told: IO[str]) -> None:
        self.path, self.plain = str(CHECKOUT / module), (CHECKOUT / module).read_text()
        self.mutants, self.within, self.told = mutants, within, told

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests in forks of this process."""
        if session.testsfailed:
            return True
        functions = defaultdict(list)
        for found in gc.get_objects():
            if isinstance(found, FunctionType) and found.__code__.co_filename == self.path:
                functions[_place(found.__code__)].append(found)
        gc.freeze()
        quickest = self._watched(session.items)
        seen = []
        for number, places in self.within.items():
            names = {name for name, _ in places}
            chosen = [item for item, _, called in quickest if called & names]
            usual = sum(seconds for _, seconds, called in quickest if called & names)
            codes = {_place(code): code for code in _codes(compile(self.mutants[number].source(), self.path, "exec"))}
            changes = [(function, codes[place]) for place in places for function in functions[place]]
            if chosen and changes and not _forked(functools.partial(_run, chosen, changes), usual)[0]:
                seen.append(number)
        if _forked(lambda: _run([item for item, _, _ in quickest]))[0]:  # so it was no other that left something behind
            json.dump(seen, self.told)
            self.told.flush()
        return True

    def _watched(self, items: Sequence[pytest.Item]) -> list[tuple[pytest.Item, float, set[str]]]:
        """Run all tests without a fault: the quickest first, how long each takes, and what it calls of the module."""
        with tempfile.TemporaryFile("w+") as told:

            def act() -> int:
                rows = []
                for item, following in itertools.pairwise([*items, None]):
                    begun, called = time.process_time(), set()

                    def note(frame: Any, event: str, _: object, called: set[str] = called) -> None:
                        if event == "call" and frame.f_code.co_filename == self.path:
                            called.add(frame.f_code.co_qualname.split(".<locals>")[0])

                    threading.setprofile(note)
                    sys.setprofile(note)
                    failed = _fails(item, following)
                    sys.setprofile(None)
                    if failed:
                        return 1
                    rows.append((time.process_time() - begun, sorted(called)))
                json.dump(rows, told)
                told.flush()
                return 0

            passed, _ = _forked(act)
            told.seek(0)
            rows = json.loads(told.read()) if passed else []
        watched = [(item, seconds, set(called)) for item, (seconds, called) in zip(items, rows, strict=False)]
        return sorted(watched, key=lambda row: row[1])


def _run(items: Sequence[pytest.Item], changes: Sequence[tuple[FunctionType, CodeType]] = ()) -> int:
    """Put changed code into functions and run tests up to the first failure; the exit code tells of one."""
    for function, code in changes:
        function.__code__ = code
    for item, following in itertools.pairwise([*items, None]):
        if _fails(item, following):
            item.session._setupstate.teardown_exact(None)
            return 1
    return 0


def _fails(item: pytest.Item, following: pytest.Item | None) -> bool:
    return any(report.failed for report in runtestprotocol(item, log=False, nextitem=following))
