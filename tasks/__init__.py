"""The steps, and what they record.

Importing this package sets how the process keeps freed memory: every process that does steps imports it.
"""

from models.memory import keep_freed_memory

keep_freed_memory()
