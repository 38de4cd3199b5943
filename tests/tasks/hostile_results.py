"""Files of results that run code when Prefect reads them: each makes a file that must not appear."""

import base64
import json
import lzma
import os
import pickle
from pathlib import Path


class _Touch:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


def _described(serializer: dict | None, result: str) -> bytes:
    metadata = {"storage_key": "key", "prefect_version": "3.8.8"}
    return json.dumps(
        {"metadata": metadata | ({"serializer": serializer} if serializer else {}), "result": result}
    ).encode()


def hostile_result(attack: str, marker: Path) -> bytes:
    """Write such a file.

    Args:
        attack: one of `HOSTILE`.
        marker: what appears if it is believed.
    """
    pickled = base64.encodebytes(pickle.dumps(_Touch(marker)))
    called = json.dumps({"__class__": "os.popen", "data": {"cmd": f"touch '{marker}'"}})
    files = {
        "pickle": _described({"type": "pickle"}, pickled.decode()),
        "no serializer": _described(None, pickled.decode()),
        "old layout": json.dumps({"serializer": {"type": "pickle"}, "data": pickled.decode()}).encode(),
        "compressed pickle": _described(
            {"type": "compressed/pickle"}, base64.encodebytes(lzma.compress(pickled)).decode()
        ),
        "decoder of JSON": _described(
            {"type": "json", "object_decoder": "subprocess.Popen"}, json.dumps({"touch": 0, str(marker): 0})
        ),
        "class in JSON": _described(_JSON, called),
    }
    return files[attack]


_JSON = {
    "type": "json",
    "jsonlib": "json",
    "object_encoder": "prefect.serializers.prefect_json_object_encoder",
    "object_decoder": "prefect.serializers.prefect_json_object_decoder",
    "dumps_kwargs": {},
    "loads_kwargs": {},
}
HOSTILE = ("pickle", "no serializer", "old layout", "compressed pickle", "decoder of JSON", "class in JSON")
