import httpx
import pytest
from prefect.states import Completed, Failed

from models.errors import InputError
from tasks.execution.faults import is_transient


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConnectionResetError("reset"), True),
        (TimeoutError("slow"), True),
        (httpx.ConnectError("refused"), True),
        (httpx.ReadTimeout("slow"), True),
        (InputError("no token"), False),
        (MemoryError(), False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (FileNotFoundError("gone"), False),
    ],
)
def test_only_faults_that_pass_by_themselves_are_tried_again(error, passes):
    assert is_transient(None, None, Failed(data=error)) is passes


def test_a_success_is_not_tried_again():
    assert is_transient(None, None, Completed(data=1)) is False
