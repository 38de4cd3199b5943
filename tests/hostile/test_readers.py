"""Hostile files for every reader: the short form of `make fuzz`, always the same cases."""

import contextlib
import resource
import subprocess
import sys

import pytest

from models.bounds import FILE_BYTES
from tests.conftest import CHECKOUT
from tests.hostile import fuzz, poison
from tests.hostile.readers import READERS, Reader

CASES = 15
SLOW = 0.1
"""Share below which a reader takes too long for this."""

_QUICK = [reader for reader in READERS if reader.share > SLOW]


@pytest.mark.parametrize("reader", _QUICK, ids=lambda reader: reader.name)
def test_a_hostile_file_is_accepted_or_refused_in_one_sentence(reader: Reader, outputs_of_readers):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = fuzz.fuzz(reader, CASES, random=1)
    assert found.lost == ()
    assert found.tried >= CASES / 2
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < FILE_BYTES


@pytest.fixture(scope="module")
def outputs_of_readers(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUTPUTS", str(tmp_path_factory.mktemp("outputs")))
        yield


@pytest.mark.parametrize("reader", _QUICK, ids=lambda reader: reader.name)
def test_no_poisoned_file_is_believed(reader: Reader, tmp_path, outputs_of_readers):
    marker = tmp_path / "marker"
    for content in poison.poisoned(marker).values():
        fuzz.check(reader, content)
    assert not marker.exists()


@pytest.mark.parametrize("name", poison.READ)
def test_the_poison_is_real(name, tmp_path):
    """Read by who trusts it, each makes its file."""
    marker = tmp_path / "marker"
    with contextlib.suppress(Exception):
        poison.READ[name](poison.poisoned(marker)[name])
    assert marker.exists()


class _Loose:
    """Readers that do what none may."""

    @staticmethod
    def raises(content: bytes) -> None:
        raise KeyError(content)

    @staticmethod
    def writes(content: bytes) -> None:
        (CHECKOUT / "outputs-never").open("ab").close()

    @staticmethod
    def runs(content: bytes) -> None:
        subprocess.run([sys.executable, "--version"], check=True, capture_output=True)

    @staticmethod
    def quotes(content: bytes) -> None:
        raise ValueError(f"\x1b[2J{content!r}")


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (_Loose.raises, "KeyError"), (_Loose.writes, "opens"), (_Loose.runs, "subprocess.Popen"),
        (_Loose.quotes, "not fit to be shown"),
    ],
)  # fmt: skip
def test_a_reader_that_does_what_none_may_is_lost(read, told):
    try:
        with pytest.raises(fuzz.Fault, match=told):
            fuzz.check(Reader("loose", read, lambda: [b""], refusals=(ValueError,)), b"a file")
    finally:
        (CHECKOUT / "outputs-never").unlink(missing_ok=True)


def test_the_table_of_a_long_run_counts_what_is_lost():
    counts = [fuzz.Count("a", 1_000, 10, 990, (), 9.0), fuzz.Count("b", 5, 1, 3, ("KeyError: 'x'",), 1.05)]
    lines = fuzz.table(counts).splitlines()
    assert lines[-1].split() == ["all", "1,005", "11", "993", "1", "100"]
    assert lines[-2] == "    KeyError: 'x'"
