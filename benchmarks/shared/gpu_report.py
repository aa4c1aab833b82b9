"""What a GPU, or the mock of one, was asked to do, as text."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import torch

from shared.mock_cuda import Log

KERNELS_SHOWN = 12
NAME_LENGTH = 90


def print_log(log: Log) -> None:
    """Print what was asked of a mock device, and where it was waited for."""
    print(f"\n{'stage':12s}{'launches':>10s}{'waits':>8s}{'copies':>8s}{'in graphs':>12s}")
    for stage, counts in log.of_stages().items():
        print(f"{stage:12s}{counts[0]:10d}{counts[1]:8d}{counts[2]:8d}{counts[3]:12d}")
    copies = sum(log.copies.values())
    every = log.num_launches, log.num_synchronisations, copies, log.num_recorded
    print(f"{'all':12s}{every[0]:10d}{every[1]:8d}{every[2]:8d}{every[3]:12d}")
    for (stage, place, operation), count in log.synchronisations.most_common():
        print(f"  waits {count} times in {stage}: {place} ({operation})")


def print_kernels(action: Callable[[], object]) -> None:
    """Print how many kernels an action runs on a GPU, and how much of its time they are busy."""
    action()
    torch.cuda.synchronize()
    start = time.perf_counter()
    action()
    torch.cuda.synchronize()
    wall = 1e3 * (time.perf_counter() - start)
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as record:
        action()
        torch.cuda.synchronize()
    kernels = [
        event for event in record.events() if event.device_type == torch.autograd.DeviceType.CUDA
    ]
    took: Counter[str] = Counter()
    for event in kernels:
        took[event.name] += event.time_range.elapsed_us() / 1e3
    counts = Counter(event.name for event in kernels)
    print(f"{len(kernels)} kernels, busy for {took.total():.2f} of {wall:.2f} ms")
    for name, milliseconds in took.most_common(KERNELS_SHOWN):
        print(f"  {milliseconds:7.3f} ms {counts[name]:4d} x {name[:NAME_LENGTH]}")
