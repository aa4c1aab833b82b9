"""Memory of this process, from Linux's /proc."""

from __future__ import annotations

from pathlib import Path


def reset_peak() -> int:
    """Forget the process' largest memory so far; return what it holds now, bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return resident_bytes()


def resident_bytes() -> int:
    """Return what the process holds now, bytes."""
    return _status("VmRSS")


def peak_bytes() -> int:
    """Return the process' largest memory since then, bytes."""
    return _status("VmHWM")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")
