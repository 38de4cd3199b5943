"""How much of a file is believed before it is read: whoever reads a file that may be damaged or hostile asks here.

A file takes at most `FILE_BYTES` of memory and `FILE_SECONDS` of a processor, or is refused. Only what is large by
nature may be larger, up to `UNPACKED_BYTES`: datasets and weights, which are refused for what they declare before they
are read. Each bound is far above what the project or a publisher of weights writes.
"""

FILE_BYTES = 1 << 30
"""Memory for a file beyond the program itself."""

FILE_SECONDS = 5
"""Processor time for a file; an X-ray of 20 million pixels in JPEG 2000, the slowest, takes half of it."""

TEXT_BYTES = 256 * 2**10
"""A text that a person writes: prompts. YAML of nothing but empty lists is parsed at a hundred kilobytes a second."""

REFERENCES_BYTES = 4 * 2**20
"""A file of reference reports, each of which becomes an object; one on every PneumoniaMNIST test image has 0.3 MiB."""

CORRECTIONS_BYTES = 16 * 2**20
"""A list of corrected labels, some thirty bytes a row: three times one of the largest MedMNIST set."""

PICTURE_PIXELS = 64 * 10**6
"""A picture, whatever its format: more than any detector or film scanner gives, some hundred MB in memory."""

DICOM_INFLATED_BYTES = 1 << 28
"""What a deflated DICOM file inflates to: four bytes for each of the most pixels that are read."""

JSON_BYTES = 16 * 2**20
"""A JSON text: records of results, notes of the ledger, cards of weights, configurations of checkpoints."""

JSON_DEPTH = 100
"""Nesting of a JSON value; Python itself gives up at about a thousand."""

SAFETENSORS_HEADER_BYTES = JSON_BYTES
"""The JSON header of a safetensors file, some 100 bytes a tensor."""

ZIP_DIRECTORY_BYTES = 2 * 2**20
"""Table of contents of a zip archive (.npz, .pth), some 80 bytes a member: read whole before any member."""

ZIP_INFLATION = 100
"""How many times its own size an archive of more than `ZIP_INFLATION_FROM` bytes may unpack to; images reach ten."""

ZIP_INFLATION_FROM = 256 * 2**20

UNPACKED_BYTES = 4 * 2**30
"""What an archive of arrays or of weights unpacks to, since it is held in memory."""

NPY_HEADER_BYTES = 10_000
"""The header of an .npy array, which NumPy parses as Python; NumPy's own bound, which it applies after reading."""

CLASSES = 10_000
"""Classes of a classifier: its last layer is allocated before its weights are compared with it."""

CHANNELS = 16
"""Channels of an image, likewise of the first layer."""

EMBEDDING = 100_000
"""Numbers of an embedding, likewise of a head on a frozen encoder."""
