"""The steps, and what they record.

Importing this package sets how the process keeps freed memory, and that it outlasts whoever reads what it prints: every
process that does steps imports it.
"""

from models.memory import keep_freed_memory
from models.standard_streams import outlast_readers

keep_freed_memory()
outlast_readers()
