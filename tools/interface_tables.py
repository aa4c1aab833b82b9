"""Print the tables of docs/ros-interface.md that follow from the code.

`./run python tools/interface_tables.py` prints them; a test keeps the document equal.
"""

from __future__ import annotations

from collections.abc import Sequence

from deviloc_ros.config import Key, keys
from deviloc_ros.localization.types import FailureReason
from deviloc_ros.robot.search_state import Mode
from deviloc_ros.ros.config.node_config import DYNAMIC_SECTIONS, FIXED_KEYS, NodeConfig
from deviloc_ros.ros.diagnostics.health import ITEMS
from deviloc_ros.ros.diagnostics.rules import Level
from deviloc_ros.ros.node.services import SERVICES


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
        return "string[]" if isinstance(key.default[0], str) else "double[]"
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
    rows = [
        (
            f"`{item.key}`",
            item.meaning,
            *(
                "; ".join(rule.meaning for rule in item.rules if rule.level is level)
                for level in (Level.WARN, Level.ERROR)
            ),
        )
        for item in ITEMS
    ]
    return table(
        ("key", "meaning", "WARN", "ERROR"), [("`state`", "lifecycle state", "", ""), *rows]
    )


def service_table() -> str:
    """Return the table of the node's own services."""
    rows = [(f"`{name}`", f"`{kind}`", what) for name, (kind, what) in SERVICES.items()]
    return table(("service", "type", "what it does"), rows)


def mode_table() -> str:
    """Return the table of how much of the map is searched."""
    return table(("mode", "searched"), [(f"`{mode.name}`", mode.value) for mode in Mode])


def dynamic_sentence() -> str:
    """Return which parameters can be changed at any time."""
    sections = ", ".join(f"`{name}.*`" for name in DYNAMIC_SECTIONS)
    fixed = ", ".join(f"`{name}` ({why})" for name, why in FIXED_KEYS.items())
    return f"At any time `map.path` (for `~/reload_map`), {sections}; but not {fixed}."


def reason_table() -> str:
    """Return the table of why an image gives no pose."""
    return table(("reason", "meaning"), [(f"`{r.name}`", r.value) for r in FailureReason])


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell for cell in line)} |" for line in lines)


if __name__ == "__main__":
    tables = (service_table, mode_table, dynamic_sentence, parameter_table, diagnostics_table)
    print(*(make() for make in tables), reason_table(), sep="\n\n")
