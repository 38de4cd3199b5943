"""Do the tests bite? `make mutants`: small faults put into pure modules, each of which a module's own tests should see.

    python -m tests.mutants [--count 300] [--seed 1] [--module tasks/shared/auc.py …]

Cosmic Ray makes the faults: a `<` that becomes a `<=`, a number that is one greater, a loop that is left out. They are
drawn from all that it can make of these modules, but for those within annotations, which nothing reads. For each, a
process is forked, finds the changed module in the place of the real one, and runs `tests/…/test_<module>.py` up to the
first failure. What fails, or takes ten times as long as without a fault, has seen it. No file is changed.
"""

import argparse
import ast
import contextlib
import importlib
import importlib.abc
import importlib.util
import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from cosmic_ray.ast import Visitor, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

CHECKOUT = Path(__file__).resolve().parents[1]
MODULES = [
    f"{folder}/{name}.py"
    for folder, names in {
        "models": "bounded_json errors markdown text zip_archive",
        "models/report_generation": "controls parsing prompting regions schema",
        "models/vector_index": "diversity normalization recall",
        "tasks/classification": "log_odds metrics promotion",
        "tasks/classification/trust": "conformal",
        "tasks/data": "patients",
        "tasks/reports/audit": "agreement collapse conservatism control_effects metrics references scores",
        "tasks/reports/claims": "matching",
        "tasks/retrieval/metrics": "chance conditioned protocols ranking table",
        "tasks/shared": "auc bootstrap calibration_error domain_auc estimates holm markdown paired_bootstrap "
        "pixel_correlation rank_biserial risk_coverage",
        "tasks/storage": "backup finished_rows garbage log_files",
    }.items()
    for name in names.split()
]
_PRELOADED = "faiss matplotlib.pyplot mlflow numpy pandas prefect pytest scipy.stats sklearn.metrics torch"
_PATIENCE = 10  # times what the tests take without a fault, and this many seconds


@dataclass(frozen=True)
class Mutant:
    """A fault.

    Attributes:
        module: path of the file below the checkout.
        operator: Cosmic Ray's name of the kind of fault.
        occurrence: which of the places where it can be put.
    """

    module: str
    operator: str
    occurrence: int

    def source(self) -> str:
        """Return the module's text with the fault."""
        return str(mutate_code((CHECKOUT / self.module).read_text(), get_operator(self.operator)(), self.occurrence))

    def line(self) -> str:
        """Show the first line that it changes, as it was and as it is."""
        pairs = zip((CHECKOUT / self.module).read_text().splitlines(), self.source().splitlines(), strict=False)
        number, old, new = next((n, old, new) for n, (old, new) in enumerate(pairs, 1) if old != new)
        return f"{self.module}:{number}  {old.strip()}  →  {new.strip()}"


class _Counter(Visitor):
    """Counts the places of each operator in one walk."""

    def __init__(self) -> None:
        self.operators = {name: get_operator(name)() for name in operator_names() if "Variable" not in name}
        self.places = dict.fromkeys(self.operators, 0)

    def visit(self, node: object) -> object:
        """Count what an operator can do to a node."""
        for name, operator in self.operators.items():
            self.places[name] += len(list(operator.mutation_positions(node)))
        return node


class _Unannotated(ast.NodeTransformer):
    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


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


def all_mutants(modules: Sequence[str]) -> Iterator[Mutant]:
    """Make all faults of some modules, in a fixed order."""
    for module in modules:
        counter = _Counter()
        counter.walk(get_ast((CHECKOUT / module).read_text()))
        for operator, places in counter.places.items():
            for occurrence in range(places):
                yield Mutant(module, operator, occurrence)


def matters(mutant: Mutant) -> bool:
    """Tell whether a fault changes more than annotations, and leaves text that Python can read."""
    try:
        changed = ast.dump(_Unannotated().visit(ast.parse(mutant.source())))
    except SyntaxError:
        return False
    return changed != ast.dump(_Unannotated().visit(ast.parse((CHECKOUT / mutant.module).read_text())))


def run_tests(module: str, source: str, seconds: float) -> tuple[bool, float]:
    """Run the tests of a module that has some text.

    Returns:
        Whether all passed; seconds that it took.
    """
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setsid()
        os._exit(_tested(module, source))
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        taken = time.monotonic() - begun
        if ended:
            return status == 0, taken
        if taken > seconds:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False, taken
        time.sleep(0.02)


def _tested(module: str, source: str) -> int:
    import pytest

    sys.meta_path.insert(0, _Changed(module, source))
    path = Path(module)
    tests = Path("tests") / path.parent / f"test_{path.name}"
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
        options = "-x -q -p no:cacheprovider -p no:xdist -p no:rerunfailures --no-header --tb=no"
        return int(pytest.main([*options.split(), str(tests)]))


def main(arguments: Sequence[str]) -> int:
    """Draw faults, try each, and print which were not seen.

    Returns:
        Exit code: 0, or 1 where the tests of a module fail without any fault.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--module", nargs="*", default=MODULES)
    asked = parser.parse_args(arguments)
    os.chdir(CHECKOUT)
    _say(f"Seed {asked.seed}: {asked.count} mutants of {len(asked.module)} modules")
    for name in _PRELOADED.split():
        importlib.import_module(name)
    every = list(all_mutants(asked.module))
    random.Random(asked.seed).shuffle(every)
    usual = dict[str, float]()  # seconds that the tests of a module take
    survivors, killed = 0, 0
    with contextlib.suppress(KeyboardInterrupt):  # what was tried until then counts
        for mutant in itertools.islice(filter(matters, every), asked.count):
            if mutant.module not in usual:
                passed, seconds = run_tests(mutant.module, (CHECKOUT / mutant.module).read_text(), 600)
                usual[mutant.module] = seconds if passed else 0.0
                if not passed:
                    _say(f"The tests of {mutant.module} fail without any fault: it is left out.")
            if not usual[mutant.module]:
                continue
            passed, _ = run_tests(mutant.module, mutant.source(), _PATIENCE * usual[mutant.module] + _PATIENCE)
            survivors, killed = survivors + passed, killed + (not passed)
            if passed:
                _say(f"survived {mutant.line()}")
            elif (killed + survivors) % 10 == 0:
                _say(f"{killed} of {killed + survivors} killed")
    tried = killed + survivors
    _say(f"{killed} of {tried} killed ({killed / max(tried, 1):.1%}), drawn from {len(every):,}, seed {asked.seed}")
    return 0 if all(usual.values()) else 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
