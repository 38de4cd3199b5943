"""Small faults in pure modules, which Cosmic Ray makes, and a sample of them that stays when another module changes."""

import ast
import hashlib
import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import Visitor, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

CHECKOUT = Path(__file__).resolve().parents[2]
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

    def line(self) -> tuple[int, str, str]:
        """Return the number of the first line that it changes, the line as it was, and as it is."""
        pairs = zip((CHECKOUT / self.module).read_text().splitlines(), self.source().splitlines(), strict=False)
        return next((n, old.strip(), new.strip()) for n, (old, new) in enumerate(pairs, 1) if old != new)


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


def all_mutants(modules: Sequence[str]) -> Iterator[Mutant]:
    """Make all faults of some modules."""
    for module in modules:
        counter = _Counter()
        counter.walk(get_ast((CHECKOUT / module).read_text()))
        for operator, places in counter.places.items():
            for occurrence in range(places):
                yield Mutant(module, operator, occurrence)


def draw(mutants: Iterable[Mutant], count: int, seed: int) -> list[Mutant]:
    """Draw some faults that matter; those of one module do not depend on the text of another.

    Args:
        mutants: all.
        count: how many.
        seed: of the draw.
    """
    keys = {mutant: hashlib.sha256(f"{seed} {mutant}".encode()).digest() for mutant in mutants}
    return list(itertools.islice(filter(matters, sorted(keys, key=keys.__getitem__)), count))


def matters(mutant: Mutant) -> bool:
    """Tell whether a fault changes more than annotations, and leaves text that Python reads without a warning."""
    try:
        with warnings.catch_warnings(action="error"):  # such as of `is` and a text, which a linter forbids, too
            source = mutant.source()
            compile(source, mutant.module, "exec")
    except (SyntaxError, SyntaxWarning):
        return False
    except AttributeError:  # Cosmic Ray cannot change `except package.Error`
        return False
    plain, changed = (
        _Unannotated().visit(ast.parse(text)) for text in ((CHECKOUT / mutant.module).read_text(), source)
    )
    return ast.dump(plain) != ast.dump(changed)
