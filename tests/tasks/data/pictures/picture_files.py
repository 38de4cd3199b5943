"""Pictures that ask for much: few bytes that take time or memory to decode."""

import struct
import zlib


def png(side: int) -> bytes:
    """A black square of that many pixels a side, in 8 bits."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress(bytes((side + 1) * side))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tiff(values: bytes, width: int, height: int, rows_per_strip: int | None = None, **tags: int) -> bytes:
    """A TIFF file of one channel, little-endian; `tags` are the fields t258 (bits a sample) and so on."""
    strips = -(-height // (rows_per_strip or height))
    fields = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 277: 1, 278: rows_per_strip or height}
    fields |= {int(name[1:]): value for name, value in tags.items()}
    entries = {tag: (4, 1, value) for tag, value in fields.items()}
    entries[273], entries[279] = (4, strips, 8), (4, strips, len(values) // strips)
    if strips > 1:  # their places and lengths stand after the values, which all begin with the first bytes
        entries[273] = (4, strips, 8 + len(values))
        entries[279] = (4, strips, 8 + len(values) + 4 * strips)
        values += struct.pack("<I", 8) * strips + struct.pack("<I", width) * strips
    directory = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(entries.items()))
    return (
        b"II*\0" + struct.pack("<I", 8 + len(values)) + values + struct.pack("<H", len(entries)) + directory + bytes(4)
    )
