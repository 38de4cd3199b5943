"""The steps, and what they record.

Importing this package sets how the process keeps freed memory, that it outlasts whoever reads what it prints, and that
what it logs is printable: every process that does steps imports it.
"""

from models.memory import keep_freed_memory
from models.standard_streams import outlast_readers
from tasks.execution.log_records import set_up_logging

keep_freed_memory()
outlast_readers()
set_up_logging()
