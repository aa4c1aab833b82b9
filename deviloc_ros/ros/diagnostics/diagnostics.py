"""Messages of /diagnostics (REP-107) and ~/status."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from deviloc_ros.localization.types import FailureReason
from deviloc_ros.robot.outcome import Fix, Outcome
from deviloc_ros.robot.search_state import SearchState
from deviloc_ros.ros.diagnostics.rules import Level
from deviloc_ros.ros.messages import stamp_message


def diagnostic_array(stamp: int, *statuses: DiagnosticStatus) -> DiagnosticArray:
    """Return statuses as a message, stamp in nanoseconds."""
    message = DiagnosticArray()
    message.header.stamp = stamp_message(stamp)
    message.status = list(statuses)
    return message


def status(name: str, level: Level, text: str, values: Mapping[str, str]) -> DiagnosticStatus:
    """Return one status."""
    return DiagnosticStatus(
        level=bytes([level]),
        name=name,
        message=text,
        hardware_id=f"/{name.partition(':')[0]}",
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


def image_status(name: str, outcome: Outcome, latency: float, tf: str) -> DiagnosticStatus:
    """Return what ~/status says about the images of one instant."""
    values = {"inliers": str(outcome.num_inliers), "latency_ms": f"{latency * 1e3:.1f}"}
    if outcome.way is not None:
        values["way"] = outcome.way.value
    if isinstance(outcome.result, Fix):
        level, text = Level.OK, "LOCALIZED"
        values["matches"] = str(outcome.result.num_matches)
        values["references"] = ", ".join(outcome.result.references)
        values["tf"] = tf
    else:
        level, text = Level.WARN, outcome.result.reason.name
        if outcome.result.reason is FailureReason.INTERNAL_ERROR:
            level = Level.ERROR
        values["reason"] = outcome.result.reason.value
        values["details"] = outcome.result.details
    if outcome.cameras:
        values["cameras"] = "; ".join(f"{k}: {text}" for k, text in outcome.cameras.items())
    values.update({f"{k}_ms": f"{s * 1e3:.1f}" for k, s in outcome.stage_seconds.items()})
    return status(name, level, text, values)


def search_status(name: str, state: SearchState, paused: bool) -> DiagnosticStatus:
    """Return what ~/status says about the search for the next image."""
    if paused:
        return status(name, Level.OK, "PAUSED", {"reason": "asked for by ~/pause"})
    values = {
        "searched": state.mode.value,
        "reason": state.reason,
        "refusals_in_a_row": str(state.refusals),
    }
    level = Level.WARN if state.widened else Level.OK
    return status(name, level, state.mode.name, values)
