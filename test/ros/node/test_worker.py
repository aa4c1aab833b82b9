"""The one-slot mailbox."""

from __future__ import annotations

import threading

from deviloc_ros.ros.node.frame_worker import NewestItemWorker


def test_only_the_newest_item_waits() -> None:
    seen: list[int] = []
    began, go = threading.Event(), threading.Event()

    def process(item: int) -> None:
        seen.append(item)
        began.set()
        assert go.wait(10)

    worker = NewestItemWorker(process, "test")
    assert not worker.submit(1)
    assert began.wait(10)
    assert worker.waiting == 0
    assert [worker.submit(item) for item in range(2, 10)] == [False] + [True] * 7
    assert worker.waiting == 1
    began.clear()
    go.set()
    assert began.wait(10)
    worker.stop()
    assert seen == [1, 9]


def test_stop_waits_for_the_item_in_hand_and_leaves_the_one_that_waits() -> None:
    seen: list[int] = []
    began, go = threading.Event(), threading.Event()

    def process(item: int) -> None:
        began.set()
        assert go.wait(10)
        seen.append(item)

    worker = NewestItemWorker(process, "test")
    worker.submit(1)
    assert began.wait(10)
    worker.submit(2)
    stopper = threading.Thread(target=worker.stop)
    stopper.start()
    go.set()
    stopper.join(10)
    assert not stopper.is_alive()
    assert seen == [1]
