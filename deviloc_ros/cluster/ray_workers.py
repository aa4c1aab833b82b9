"""Workers on a Ray cluster, or on a Ray of this machine's own.

Each worker is a Ray actor that computes with one thread, on a CPU: results do not depend on how
many workers there are. An actor that is lost is started again, and does again what it was at.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from deviloc_ros import __version__
from deviloc_ros.cluster.workers import Item, Prepare, Result, progress
from deviloc_ros.errors import InputError

NEEDED = "--workers needs Ray: pip install 'deviloc_ros[ray]'"
# A worker has the next item at hand when it finishes one.
ITEMS_AT_HAND = 2
# An item that ends its worker so often ends the command: it would end all of them.
RESTARTS = 3


class RayWorkers:
    """As many workers as the cluster has CPUs."""

    def __init__(self, address: str) -> None:
        """Connect to a cluster, or start one.

        Args:
            address: a number: of processes on this machine; else of a running cluster.

        Raises:
            InputError: Ray is not installed, the number is no count of processes, or there is no
                such cluster.
        """
        local = int(address) if address.isdecimal() else None
        if local == 0:
            raise InputError(
                f"--workers {address}: must be at least 1, or the address of a cluster"
            )
        try:
            self._ray = importlib.import_module("ray")
        except ImportError:
            raise InputError(NEEDED) from None
        # Ray reports its use over the network unless it is told not to.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        where: dict[str, Any] = {"address": address}
        if local is not None:
            where = {"address": "local", "num_cpus": local, "include_dashboard": False}
        try:
            self._ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"--workers {address}: no Ray cluster there: {reason}") from None
        self.count = int(self._ray.cluster_resources().get("CPU", 0))
        if self.count == 0:
            self.close()
            raise InputError(f"--workers {address}: the Ray cluster there has no CPU")
        self._worker = self._ray.remote(
            num_cpus=1, max_restarts=RESTARTS, max_task_retries=RESTARTS
        )(_Worker)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self._ray.shutdown()

    def map(
        self, prepare: Prepare[Item, Result], items: Sequence[Item], title: str | None
    ) -> Iterator[Result]:
        """See Workers."""
        if not items:
            return
        # Once for each machine, not for each worker.
        shared = self._ray.put(prepare)
        workers = [self._worker.remote(__version__) for _ in range(min(self.count, len(items)))]
        left = iter(enumerate(items))
        running: dict[Any, tuple[int, Any]] = {}
        done: dict[int, Result] = {}

        def give(worker: Any) -> None:
            for number, item in left:
                running[worker.do.remote([shared], item)] = number, worker
                return

        try:
            for worker in workers * ITEMS_AT_HAND:
                give(worker)
            with progress(items, title) as bar:
                for wanted in range(len(items)):
                    while wanted not in done:
                        (ready,), _ = self._ray.wait(list(running), num_returns=1)
                        number, worker = running.pop(ready)
                        done[number] = self._result(ready, items[number])
                        bar.update()
                        give(worker)
                    yield done.pop(wanted)
        finally:
            # Workers end when nobody knows them any more: who looks at the error's frames would.
            worker = None
            workers.clear()
            running.clear()

    def _result(self, ready: Any, item: object) -> Any:
        try:
            return self._ray.get(ready)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayActorError:
            raise InputError(
                f"--workers: a worker ended {RESTARTS + 1} times at {str(item)[:80]}: look at the "
                "memory of its machine, or use fewer workers"
            ) from None


class _Worker:
    """A process of the cluster."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._function: Callable[[Any], Any] | None = None

    def do(self, shared: Sequence[Any], item: Any) -> Any:
        """Return what becomes of an item.

        Args:
            shared: where what makes the function is, alone in a list: Ray would look it up itself.
            item: what the function is called with.

        Raises:
            InputError: this machine has another version of the package.
        """
        if self._function is None:
            if self._version != __version__:
                raise InputError(
                    f"--workers: a machine has deviloc_ros {__version__}, this one "
                    f"{self._version}: install the same"
                )
            import torch

            torch.set_num_threads(1)
            (prepare,) = importlib.import_module("ray").get(list(shared))
            self._function = prepare()
        return self._function(item)
