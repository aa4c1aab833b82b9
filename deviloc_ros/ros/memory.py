"""How much memory is in use."""

from __future__ import annotations

import os
from pathlib import Path

import torch


def process_memory() -> float:
    """Return what the process holds in physical memory, MB."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def device_memory() -> tuple[float, float] | None:
    """Return MB in use and in all of the CUDA device, by whomever; None where none is used."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return None
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 1e6, total / 1e6
