"""What flows and steps raise says what happened: the process was asked to end, a disk is full, a cluster is gone."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tasks.execution.cluster import cluster_error
from tasks.execution.event_delivery import deliver_patiently
from tasks.execution.termination import asked_for, noted
from tasks.storage.disks import disk_error

P = ParamSpec("P")
R = TypeVar("R")


def in_plain_words(function: Callable[P, R]) -> Callable[P, R]:
    """Make errors that come from a signal those of that signal, and errors of a disk or a cluster a sentence about it.

    They become the states of the run and their messages. What is told of the run waits for a server that is away.

    Args:
        function: what a flow or a step does.

    Returns:
        The same, with its signature.
    """

    @functools.wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        deliver_patiently()
        with noted():
            try:
                return function(*arguments, **named)
            except Exception as error:
                told = asked_for() or disk_error(error) or cluster_error(error)
                if told is None:
                    raise
                raise told from error

    return call
