"""Values of /diagnostics, and rules that raise its level."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deviloc_ros.ros.config.output_config import DiagnosticsConfig
from deviloc_ros.ros.diagnostics.snapshot import Snapshot


class Level(enum.IntEnum):
    """Levels of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


Condition = Callable[[Snapshot, DiagnosticsConfig], bool]


@dataclass(frozen=True)
class Rule:
    """What raises the level.

    Attributes:
        level: to what.
        meaning: when, for the documentation.
        complaint: what the status then says.
        holds: when.
    """

    level: Level
    meaning: str
    complaint: str
    holds: Condition


@dataclass(frozen=True)
class Item:
    """One value of /diagnostics.

    Attributes:
        key: its name.
        meaning: of the value.
        value: its text.
        rules: what raises the level.
    """

    key: str
    meaning: str
    value: Callable[[Snapshot], str]
    rules: tuple[Rule, ...] = ()


def item(key: str, meaning: str, value: Callable[[Snapshot], str], *rules: Rule) -> Item:
    """Return a value with its rules."""
    return Item(key, meaning, value, rules)


def warn(meaning: str, complaint: str, holds: Condition) -> Rule:
    """Return a rule of level WARN."""
    return Rule(Level.WARN, meaning, complaint, holds)


def error(meaning: str, complaint: str, holds: Condition) -> Rule:
    """Return a rule of level ERROR."""
    return Rule(Level.ERROR, meaning, complaint, holds)


def assess(
    items: Sequence[Item], now: Snapshot, limits: DiagnosticsConfig
) -> tuple[Level, str, dict[str, str]]:
    """Return level, message and values; only the worst complaint about each value is made."""
    raised = []
    for one in items:
        holding = [rule for rule in one.rules if rule.holds(now, limits)]
        if holding:
            raised.append(max(holding, key=lambda rule: rule.level))
    raised.sort(key=lambda rule: -rule.level)
    level = raised[0].level if raised else Level.OK
    well = "paused" if now.paused else "localizing"
    text = "; ".join(rule.complaint for rule in raised) or well
    return level, text, {one.key: one.value(now) for one in items}
