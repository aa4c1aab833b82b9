"""Print the tables of docs/ros-interface.md that follow from the code.

`python -m deviloc_ros.ros.documentation` prints them; a test keeps the document equal.
"""

from __future__ import annotations

from collections.abc import Sequence

from deviloc_ros.config import Key, keys
from deviloc_ros.localization.types import FailureReason
from deviloc_ros.ros.diagnostics import VALUES
from deviloc_ros.ros.outcome import NodeRefusal
from deviloc_ros.ros.parameters import NodeConfig


def parameter_table() -> str:
    """Return the table of parameters."""
    rows = [
        (f"`{key.name}`", type_name(key), f"`{key.default}`", allowed(key), key.description)
        for key in keys(NodeConfig)
    ]
    return table(("parameter", "type", "default", "allowed", "meaning"), rows)


def type_name(key: Key) -> str:
    """Return the ROS type of a key."""
    if isinstance(key.default, list):
        return "double[]"
    return {bool: "bool", int: "integer", float: "double", str: "string"}[key.type]


def allowed(key: Key) -> str:
    """Return the choices or bounds of a key."""
    if key.choices:
        return ", ".join(f"`{choice}`" for choice in key.choices)
    bounds = []
    if key.minimum is not None:
        bounds.append(f"{'>=' if key.minimum[1] else '>'} {key.minimum[0]:g}")
    if key.maximum is not None:
        bounds.append(f"{'<=' if key.maximum[1] else '<'} {key.maximum[0]:g}")
    return ", ".join(bounds)


def diagnostics_table() -> str:
    """Return the table of what /diagnostics says."""
    rows = [(f"`{key}`", meaning, level) for key, (meaning, level) in VALUES.items()]
    return table(("key", "meaning", "raises the level"), rows)


def reason_table() -> str:
    """Return the table of why an image gives no pose."""
    reasons = [*FailureReason, *NodeRefusal]
    return table(("reason", "meaning"), [(f"`{r.name}`", r.value) for r in reasons])


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell for cell in line)} |" for line in lines)


if __name__ == "__main__":
    print(parameter_table(), diagnostics_table(), reason_table(), sep="\n\n")
