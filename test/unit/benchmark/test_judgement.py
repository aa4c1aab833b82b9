"""What a benchmark of the node says of images that are missing, and of memory."""

from __future__ import annotations

import pytest
from node_load.judgement import figures, growth, unaccounted
from node_load.record import Answer, Record


def record(memory: list[float], **counts: int) -> Record:
    """Return ten images sent and two answers; one value of memory a second from second 100 on."""
    return Record(
        sent=[float(i) for i in range(10)],
        answers=[Answer(0.0, 1.0, "LOCALIZED"), Answer(1.0, 2.0, "BAD_IMAGE")],
        memory=[(100.0 + i, megabytes) for i, megabytes in enumerate(memory)],
        diagnostics={f"frames_{name}": str(value) for name, value in counts.items()},
    )


SOUND = {"received": 8, "localized": 1, "refused": 1, "dropped": 6}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, ""),
        ({"dropped": 5}, "not accounted for"),
        ({"received": 11, "dropped": 9}, "more images received than sent"),
        ({"localized": 0, "dropped": 7}, "2 results on ~/status"),
    ],
)
def test_every_image_is_accounted_for(change: dict[str, int], fault: str) -> None:
    said = unaccounted(record([], **{**SOUND, **change}))
    assert [fault in text for text in said] == ([True] if fault else [])


def test_a_node_that_never_spoke_accounts_for_nothing() -> None:
    assert unaccounted(record([]))


def test_memory_may_grow_in_the_first_minute_only() -> None:
    warm = [float(i) for i in range(60)]
    assert growth(record(warm + [500.0] * 60), 100.0, 220.0) == []
    assert (
        "grows: from 50" in growth(record(warm + [500.0 + i for i in range(60)]), 100.0, 220.0)[0]
    )
    assert "too short" in growth(record(warm), 100.0, 160.0)[0]
    assert figures(record(warm + [500.0] * 60, **SOUND), 100.0, 220.0) == {
        "minutes": 2.0,
        "images sent": 10,
        "images received": 8,
        "images localized": 1,
        "images refused": 1,
        "images dropped": 6,
        "memory MB after a minute, median of a third": 500.0,
        "memory MB at the end, median of a third": 500.0,
        "memory MB at most": 500.0,
    }
