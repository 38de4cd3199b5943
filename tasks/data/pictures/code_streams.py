"""What the header of a compressed picture says of its size, before anything is decoded.

A decoder allocates what the header asks for, whatever the file around it says: two kilobytes of JPEG 2000 can ask for
gigabytes.
"""

import struct
from dataclasses import dataclass

from tasks.data.pictures.grey_levels import refuse_size
from tasks.data.pictures.unreadable import UnreadableImageError

MAXIMUM_COMPONENTS = 4
MAXIMUM_TILES = 4096  # a decoder of JPEG 2000 keeps kilobytes for each, before it meets the first

_JPEG_START = b"\xff\xd8"
_JPEG_2000_START = b"\xff\x4f\xff\x51"  # start of code stream, then its size (SIZ)
# Start of frame: ITU-T T.81 table B.1 without DHT (C4), JPG (C8) and DAC (CC), and F7 of JPEG-LS (T.87).
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


@dataclass(frozen=True)
class CodeStream:
    """Size of a compressed picture.

    Attributes:
        height: pixels.
        width: pixels.
        components: 1 in grey, 3 in colour.
        precision: bits per sample.
    """

    height: int
    width: int
    components: int
    precision: int


def read_code_stream_header(content: bytes) -> CodeStream | None:
    """Find the size in a JPEG, JPEG-LS or JPEG 2000 code stream, also in a JP2 file around one.

    Returns:
        None where it is none of these, or where the header is cut off or says nothing of a size.

    Raises:
        UnreadableImageError: it asks for more pixels, components or tiles than are read.
    """
    stream = _jpeg(content) if content.startswith(_JPEG_START) else _jpeg_2000(content)
    if stream is None:
        return None
    refuse_size(stream.height, stream.width)
    if stream.components > MAXIMUM_COMPONENTS:
        raise UnreadableImageError(f"it has {stream.components} components, and at most {MAXIMUM_COMPONENTS} are read")
    return stream


def _jpeg(content: bytes) -> CodeStream | None:
    at = len(_JPEG_START)
    while (at := content.find(b"\xff", at)) >= 0 and at + 10 <= len(content):
        marker = content[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _FRAMES:
            precision, height, width, components = struct.unpack_from(">BHHB", content, at + 4)
            return CodeStream(height, width, components, precision)
        elif marker in (_START_OF_SCAN, _END_OF_IMAGE):
            return None
        else:
            at += 2 if marker in _WITHOUT_LENGTH else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None


def _jpeg_2000(content: bytes) -> CodeStream | None:
    at = content.find(_JPEG_2000_START)
    if at < 0 or at + 43 > len(content):
        return None
    # ITU-T T.800 A.5.1: right and lower end, offset of the picture, size and offset of the tiles.
    x, y, left, top, tile_width, tile_height, tile_left, tile_top = struct.unpack_from(">8I", content, at + 8)
    components, precision = struct.unpack_from(">HB", content, at + 40)
    if not (tile_width and tile_height):
        raise UnreadableImageError("its tiles have no size")
    tiles = -((tile_left - x) // tile_width) * -((tile_top - y) // tile_height)
    if tiles > MAXIMUM_TILES:
        raise UnreadableImageError(f"it is cut in {tiles} tiles, and at most {MAXIMUM_TILES} are read")
    return CodeStream(y - top, x - left, components, (precision & 0x7F) + 1)
