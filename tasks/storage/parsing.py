"""Parsing by one thread at a time.

CPython before 3.11.8 counts the depth of all syntax trees that are being made in one place. A thread that parses while
another does may fail: "AST constructor recursion depth mismatch" (https://github.com/python/cpython/issues/106905).
NumPy parses, too: the header of each array that it loads.
"""

import threading

one_parses = threading.Lock()
