import ast
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tasks.execution import fingerprint
from tasks.storage.store import Store


def test_no_two_threads_parse_at_once(tmp_path, monkeypatch):
    """Neither headers of arrays, which NumPy parses, nor code."""
    store = Store(str(tmp_path))
    arrays = store.put_arrays({"a": np.ones(3), "b": np.zeros(2)})
    parsing, seen = [], []

    def slow(parse):
        def watched(*arguments, **options):
            parsing.append(None)
            seen.append(len(parsing))
            time.sleep(0.02)
            tree = parse(*arguments, **options)
            parsing.pop()
            return tree

        return watched

    monkeypatch.setattr(ast, "parse", slow(ast.parse))  # which literal_eval calls
    with ThreadPoolExecutor(4) as threads:
        read = [threads.submit(store.get_arrays, arrays) for _ in range(4)]
        parsed = [threads.submit(fingerprint._parse, __file__) for _ in range(4)]
    assert all(future.result()["a"].tolist() == [1, 1, 1] for future in read)
    assert all(future.result().body for future in parsed)
    assert len(seen) == 4 * 2 + 4
    assert max(seen) == 1
