"""What the main functions of the package's nodes have in common: beginning, spinning and ending."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import rclpy
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from deviloc_ros.errors import InputError
from deviloc_ros.ros.process import Termination

FINISHED_PERIOD = 0.1
"""Time between two looks at whether a node has finished by itself, seconds."""


def run(body: Callable[[], int], arguments: Sequence[str] | None, termination: Termination) -> int:
    """Run the body of a main function between `rclpy.init` and shutdown; return the exit code.

    Args:
        body: makes a node, spins it and returns the exit code.
        arguments: of the command line; None: the process' own.
        termination: after a signal this does not return: the process ends here.

    Returns:
        What the body returns, 0 if the context was shut down, 2 for an InputError, told in a line.
    """
    rclpy.init(
        args=list(arguments) if arguments is not None else None,
        # After rclpy's own handlers the context is gone, and what is in hand with it.
        signal_handler_options=SignalHandlerOptions.NO,
    )
    code = 0
    try:
        code = body()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except ExternalShutdownException:
        pass
    finally:
        rclpy.try_shutdown()
    if termination.requested:
        termination.end_process(code)
    return code


def spin(node: Node, termination: Termination, finished: Callable[[], bool] | None = None) -> None:
    """Let a node work until a signal comes, the context is shut down, or it has finished."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    ended: Future[None] = Future(executor=executor)

    def look() -> None:
        if finished is not None and finished():
            ended.set_result(None)

    if finished is not None:
        # On the machine's clock: simulated time stands still when playback is over.
        node.create_timer(FINISHED_PERIOD, look, clock=Clock(clock_type=ClockType.STEADY_TIME))
    termination.call(lambda: ended.set_result(None))
    executor.spin_until_future_complete(ended)
