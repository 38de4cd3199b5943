"""Valid files, damaged and made hostile: changes of bytes, members, fields and values.

Each takes the content of a valid file and what chooses: hypothesis, which finds the fewest changes that break
something, or a plain generator, which takes a tenth of the time.
"""

import contextlib
import io
import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from hypothesis import strategies as st


class Choice(Protocol):
    """What chooses a case."""

    def whole(self, low: int, high: int) -> int:
        """Choose a whole number; both ends are among them."""

    def of(self, values: Sequence[Any]) -> Any:
        """Choose one of some values."""


class Searched:
    """Hypothesis chooses."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def whole(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def of(self, values: Sequence[Any]) -> Any:
        return self._draw(st.sampled_from(values))


class Rolled:
    """A plain generator chooses."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def whole(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def of(self, values: Sequence[Any]) -> Any:
        return self._random.choice(values)


Mutation = Callable[[Choice, bytes], bytes]

ESCAPES = "\x1b[2J\x1b]0;t\x07\u202e"
NASTY = (
    "", "\0", ESCAPES, "../../../../tmp/out", "/etc/passwd", "x" * 10_000, "[red]a[/red] ![](http://x) <script>",
    "__class__", "9" * 5_000, "1e999", "-1", "nan", "{{7*7}}", "\ud800", "=cmd|'/c calc'!A0", "%s%n", "True", "1.5",
)  # fmt: skip
"""Texts that were read wrongly somewhere: controls, paths, lengths, markup, numbers that are none."""

_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 2**31, 2**63, 2**64, -(2**63), 10**400, 1e308, float("inf"), float("-inf"), float("nan"),
    [], {}, [None], {"": None}, [[[[[[]]]]]], "9" * 5_000, *NASTY,
)  # fmt: skip
_FORMATS = ("<B", "<H", ">H", "<I", ">I", "<Q", ">Q")


def _at(content: bytes | bytearray, place: int) -> int:
    """Where a change is made: a place is a share of the length, so that it fits files of any length."""
    return place * len(content) >> 20


def _flip(content: bytearray, place: int, span: int, value: int) -> None:
    if content:
        content[min(_at(content, place), len(content) - 1)] ^= 1 << value % 8


def _overwrite(content: bytearray, place: int, span: int, value: int) -> None:
    form = _FORMATS[span % len(_FORMATS)]
    size, start = struct.calcsize(form), _at(content, place)
    content[start : start + size] = struct.pack(form, _NUMBERS[value % len(_NUMBERS)] % (1 << 8 * size))


def _cut(content: bytearray, place: int, span: int, value: int) -> None:
    start = _at(content, place)
    del content[start : None if value % 3 == 0 else start + span]


def _repeat(content: bytearray, place: int, span: int, value: int) -> None:
    start = _at(content, place)
    content[start:start] = content[start : start + span] * (1 + value % 300)


def _insert(content: bytearray, place: int, span: int, value: int) -> None:
    start = _at(content, place)
    content[start:start] = NASTY[value % len(NASTY)].encode("utf-8", "surrogatepass")


_EDITS = (_flip, _overwrite, _cut, _repeat, _insert)


def edited(choose: Choice, content: bytes) -> bytes:
    """Change some bytes: bits, numbers in either order, spans that go, come twice or come from elsewhere."""
    changed = bytearray(content)
    for _ in range(choose.whole(1, 4)):
        number = choose.whole(0, 2**40 - 1)  # one choice and not four, which hypothesis takes long for
        edit = _EDITS[(number >> 36) % len(_EDITS)]
        edit(changed, number & 0xFFFFF, 1 + (number >> 20) % 64, (number >> 28) % 256)
    return bytes(changed)


def edited_start(size: int) -> Mutation:
    """Change the beginning of a file, where its header is."""
    return lambda choose, content: edited(choose, content[:size]) + content[size:]


def json_edited(choose: Choice, content: bytes) -> bytes:
    """Change a JSON text: values of any kind at any place, fields that go, are new or twice, depth, or its bytes."""
    if choose.whole(0, 4) == 0:
        return edited(choose, content)
    value = json.loads(content)
    for _ in range(choose.whole(1, 3)):
        value = _with_another(choose, value)
    text = json.dumps(value, ensure_ascii=choose.of((False, True)))
    if choose.whole(0, 9) == 0:
        text = "[" * 100_000 + text
    return text.encode("utf-8", "surrogatepass")


def _with_another(choose: Choice, value: Any) -> Any:
    if not isinstance(value, dict | list) or not value or choose.whole(0, 5) == 0:
        return choose.of(_VALUES)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = choose.of(keys)
    change = choose.whole(0, 5)
    copy: Any = value.copy()
    if change == 0:
        del copy[key]
    elif change == 1 and isinstance(copy, dict):
        copy[choose.of(NASTY)] = copy.pop(key)
    elif change == 1:
        copy.append(copy[key])
    elif change == 2 and isinstance(copy, dict):
        copy[choose.of(NASTY)] = choose.of(_VALUES)
    else:
        copy[key] = _with_another(choose, copy[key])
    return copy


_LONGEST_LINE = 8_000_000  # letters, more than any reader of texts takes


def text_edited(choose: Choice, content: bytes) -> bytes:
    """Change a text of lines and cells: words for words of `NASTY`, lines that go or come twice, or its bytes."""
    if choose.whole(0, 3) == 0:
        return edited(choose, content)
    lines = content.decode().splitlines(keepends=True)
    for _ in range(choose.whole(1, 3)):
        place = choose.whole(0, max(0, len(lines) - 1))
        change = choose.whole(0, 3)
        if not lines:
            lines = [choose.of(NASTY)]
        elif change == 0:
            del lines[place]
        elif change == 1:
            lines[place] = _repeated(lines[place], choose.of((2, 3, 1000)))
        else:
            cells = lines[place].split(",")
            cells[choose.whole(0, len(cells) - 1)] = choose.of(NASTY)
            lines[place] = ",".join(cells)
    return "".join(lines).encode("utf-8", "surrogatepass")


def _repeated(line: str, times: int) -> str:
    """Repeat a line, but no more often than makes a long one: a thousand times a long one is gigabytes."""
    return (line * min(times, 1 + _LONGEST_LINE // max(1, len(line))))[:_LONGEST_LINE]


_NPY_FIELDS = (
    "'descr': '|O'", "'descr': '<U99999999'", "'descr': '|V0'", "'descr': [('a', '|u1')]", "'descr': '<M8[s]'",
    "'descr': None", "'shape': (99999999999,)", "'shape': (-1,)", "'shape': ()", "'shape': (0,)", "'shape': (1e3,)",
    "'shape': (2**70,)", "'shape': (4294967296, 4294967296)", "'fortran_order': True", "'fortran_order': 7",
    "'x': __import__('os').system('touch canary')", "'shape': ((((((", f"'shape': ({'1,' * 5_000})",
)  # fmt: skip


def npy_edited(choose: Choice, content: bytes) -> bytes:
    """Change the header of an .npy array, or its bytes."""
    if choose.whole(0, 2) == 0 or content[:6] != b"\x93NUMPY":
        return edited(choose, content)
    length = int.from_bytes(content[8:10], "little")
    header = content[10 : 10 + length].decode("latin1").strip().removesuffix("}")
    header = f"{header}{choose.of(_NPY_FIELDS)}, }}\n"  # of a field twice Python takes the last
    version = choose.of((1, 1, 1, 2, 3, 9))
    size = struct.pack("<H" if version == 1 else "<I", len(header) % 65536)
    return b"\x93NUMPY" + bytes([version, 0]) + size + header.encode("latin1") + content[10 + length :]


def _zip_edited(choose: Choice, content: bytes, member: Mutation) -> bytes:
    if choose.whole(0, 3) == 0:
        return edited(choose, content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    for _ in range(choose.whole(1, 2)):
        place = choose.whole(0, max(0, len(members) - 1))
        change = choose.whole(0, 5)
        if not members:
            break
        name, value = members[place]
        if change == 0:
            del members[place]
        elif change == 1:
            members.append(members[choose.whole(0, len(members) - 1)])
        elif change == 2:
            members[place] = (choose.of(NASTY) or "x", value)
        else:
            members[place] = (name, member(choose, value))
    written = io.BytesIO()
    method = choose.of((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with (
        contextlib.suppress(UnicodeEncodeError),
        warnings.catch_warnings(action="ignore"),  # of a name that comes twice
        zipfile.ZipFile(written, "w", method) as archive,
    ):
        for name, value in members:
            archive.writestr(zipfile.ZipInfo(name), value, method)
    made = written.getvalue()
    return edited(choose, made) if choose.whole(0, 4) == 0 else made


def zip_edited(member: Mutation = edited) -> Mutation:
    """Change an archive: members that go, come twice, have another name, content or compression, or its bytes."""
    return lambda choose, content: _zip_edited(choose, content, member)


def safetensors_edited(choose: Choice, content: bytes) -> bytes:
    """Change the header of a safetensors file, JSON within its metadata, or its bytes."""
    if choose.whole(0, 3) == 0:
        return edited_start(400)(choose, content)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata = header.get("__metadata__")
    if metadata and choose.of((False, True)):
        key = choose.of(sorted(metadata))
        with contextlib.suppress(ValueError):
            json.loads(metadata[key])
            metadata[key] = json_edited(choose, metadata[key].encode()).decode("utf-8", "replace")
        changed = json.dumps(header).encode()
    else:
        changed = json_edited(choose, content[8 : 8 + length])
    said = choose.of((len(changed), len(changed), len(changed), len(changed), 0, 2**63, len(content)))
    return struct.pack("<Q", said) + changed + content[8 + length :]


_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_VRS = (b"AT", b"CS", b"DS", b"IS", b"LO", b"OB", b"PN", b"SQ", b"UI", b"UL", b"UN", b"US", b"UT", b"XX", b"\0\0")
_DICOM_VALUES = (
    b"", b" ", b"\0\0", b"\xff\xff", b"1\\2\\3", b"1e999 ", b"nan ", b"-1", b"99999999999 ", b"ISO 2022 IR 87",
    b"\\" * 64,
    b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.4.90", b"MONOCHROME1 ", b"PALETTE COLOR ",
    b"YBR_FULL_422", ESCAPES.encode(), b"\xfe\xff\x00\xe0\xff\xff\xff\xff" * 40, b"A" * 10_000, b"\x1b$B" * 20,
)  # fmt: skip


def _elements(content: bytes) -> list[tuple[int, int]]:
    """Where the elements of an explicit little-endian file begin and end, as far as they can be told apart."""
    found, at = [], 132
    while at + 8 <= len(content):
        long = content[at + 4 : at + 6] in _LONG
        size = int.from_bytes(content[at + 8 : at + 12] if long else content[at + 6 : at + 8], "little")
        end = min(len(content), at + (12 if long else 8) + size)
        found.append((at, end))
        at = end
    return found


def dicom_edited(choose: Choice, content: bytes) -> bytes:
    """Change elements of a DICOM file: their values, kinds and lengths, which go or come twice, or its bytes."""
    if choose.whole(0, 3) == 0:
        return edited_start(1200)(choose, content)
    parts = [content[start:end] for start, end in _elements(content)]
    for _ in range(choose.whole(1, 3)):
        place = choose.whole(0, len(parts) - 1)
        change = choose.whole(0, 5)
        part = parts[place]
        if change == 0:
            parts[place] = b""
        elif change == 1:
            parts[place] *= choose.of((2, 100))
        elif change == 2:
            parts[place] = part[:4] + choose.of(_VRS) + part[6:]
        elif change == 3:
            parts[place] = part[:6] + struct.pack("<H", choose.of(_NUMBERS) % 65536) + part[8:]
        else:
            value = choose.of(_DICOM_VALUES)
            long = part[4:6] in _LONG
            head = part[:8] + struct.pack("<I", len(value)) if long else part[:6] + struct.pack("<H", len(value))
            parts[place] = head + value
    return content[:132] + b"".join(parts)


def case(choose: Choice, mutation: Mutation, contents: Sequence[bytes]) -> bytes:
    """Take any of some valid files, and change it; now and then as it is."""
    content = choose.of(contents)
    return content if choose.whole(0, 5) == 0 else mutation(choose, content)


def cases(mutation: Mutation, contents: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Let hypothesis choose cases."""

    @st.composite
    def every_case(draw: st.DrawFn) -> bytes:  # without arguments, which hypothesis would write down
        return case(Searched(draw), mutation, contents)

    return every_case()
