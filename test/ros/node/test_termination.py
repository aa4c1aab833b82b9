"""What SIGINT and SIGTERM do to a process that listens to them; no ROS is involved."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

SIGNALS = [signal.SIGINT, signal.SIGTERM]

BUSY = """
import time
from deviloc_ros.ros.process import Termination
termination = Termination(grace={grace})
{more}
print("ready", flush=True)
while True:
    time.sleep(0.01)
"""

TALKING = """    try:
        print("more")
    except OSError:
        pass
"""

FINISHING = """
import threading
from deviloc_ros.ros.process import Termination
termination = Termination(grace=100)
asked = threading.Event()
termination.call(asked.set)
print("ready", flush=True)
asked.wait()
print("finished")
termination.end_process(7)
"""


def run(program: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore SIGINT, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", SIGNALS)
def test_with_nothing_to_finish_it_ends_wherever_it_is(number: signal.Signals) -> None:
    # It would not end within the time of the test if it waited.
    with run(BUSY.format(grace=10_000, more="")) as process:
        process.send_signal(number)
        output = process.communicate(timeout=60)
    assert (process.returncode, *output) == (0, "", "")


@pytest.mark.parametrize("number", SIGNALS)
def test_what_is_in_hand_is_finished(number: signal.Signals) -> None:
    with run(FINISHING) as process:
        process.send_signal(number)
        output = process.communicate(timeout=60)
    assert (process.returncode, *output) == (7, "finished\n", "")


@pytest.mark.parametrize("number", SIGNALS)
def test_what_takes_too_long_is_not_waited_for(number: signal.Signals) -> None:
    with run(BUSY.format(grace=0.2, more="termination.call(int)")) as process:
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert errors == "still busy: ending without waiting for it\n"


def test_a_callback_that_never_returns_does_not_keep_it() -> None:
    more = "import threading; termination.call(threading.Event().wait)"
    with run(BUSY.format(grace=0.2, more=more)) as process:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize("more", ["", "termination.call(int)"])
def test_it_ends_also_when_nobody_reads_its_output_any_more(more: str) -> None:
    process = run(BUSY.format(grace=0.2, more=more) + TALKING)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
