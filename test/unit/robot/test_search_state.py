"""The state machine of the search, driven by arbitrary events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deviloc_ros.robot.search_state import Mode, SearchState

EVENTS = st.sampled_from(["given", "offered", "found", "refused", "refused alone", "forgotten"])
LIMIT = 3


def after(events: list[str]) -> SearchState:
    state = SearchState()
    for event in events:
        if event.startswith("refused"):
            state = state.refused("TOO_FEW_INLIERS", event == "refused", LIMIT)
        elif event == "found":
            state = state.found()
        else:
            state = getattr(state, event)("source")
    return state


@given(st.lists(EVENTS))
def test_a_pose_leads_to_tracking_from_anywhere(events: list[str]) -> None:
    assert after([*events, "found"]) == SearchState(Mode.TRACKING, "localized")


@given(st.lists(EVENTS))
def test_a_given_pose_is_used_from_anywhere(events: list[str]) -> None:
    assert after([*events, "given"]).mode is Mode.GUIDED


@given(st.lists(EVENTS))
def test_enough_refusals_widen_from_anywhere_until_a_pose_or_a_person(events: list[str]) -> None:
    lost = after([*events, *["refused"] * LIMIT])
    assert lost.mode is Mode.GLOBAL
    assert not lost.uses_prior
    if lost.widened:
        assert "TOO_FEW_INLIERS" in lost.reason
        assert lost.offered("gnss") is lost


@given(st.lists(EVENTS))
def test_the_prior_is_used_exactly_until_it_has_proved_wrong(events: list[str]) -> None:
    state = SearchState()
    in_a_row = 0
    prior = False
    for event in events:
        before = state
        if event == "refused" and prior:
            in_a_row += 1
            prior = in_a_row < LIMIT
        elif event in ("given", "found"):
            prior, in_a_row = True, 0
        elif event == "offered":
            prior = prior or not before.widened
            in_a_row = in_a_row if before.uses_prior else 0
        elif event == "forgotten":
            prior, in_a_row = False, 0
        state = after_one(before, event)
        assert state.uses_prior == prior
        assert state.reason


def after_one(state: SearchState, event: str) -> SearchState:
    if event.startswith("refused"):
        return state.refused("TOO_FEW_INLIERS", event == "refused", LIMIT)
    return state.found() if event == "found" else getattr(state, event)("source")


def test_a_guess_never_displaces_a_pose_in_use() -> None:
    tracking = SearchState().found()
    assert tracking.offered("gnss") is tracking
    guided = SearchState().given("initialpose")
    assert guided.offered("gnss") is guided
    assert SearchState().offered("gnss").mode is Mode.GUIDED


def test_a_sensor_renews_its_own_guess_and_refusals_count_on() -> None:
    state = SearchState().offered("gnss").refused("NO_REFERENCES", True, LIMIT)
    renewed = state.offered("gnss")
    assert renewed == state
    assert renewed.wants_offer("gnss")
    assert not renewed.wants_offer("restored")
    for _ in range(LIMIT - 1):
        renewed = renewed.offered("gnss").refused("NO_REFERENCES", True, LIMIT)
    assert renewed.mode is Mode.GLOBAL
    assert renewed.offered("gnss") is renewed


def test_images_that_no_prior_narrowed_do_not_count_against_it() -> None:
    state = SearchState().found()
    for _ in range(10):
        state = state.refused("TOO_FEW_INLIERS", False, LIMIT)
    assert state.mode is Mode.TRACKING


def test_two_refusals_are_named() -> None:
    state = SearchState().found()
    for _ in range(2):
        state = state.refused("AGAINST_PRIOR", True, 2)
    assert state.reason == "2 refusals in a row near the prior, the last: AGAINST_PRIOR"
    assert state.forgotten("time jumped back") == SearchState(Mode.GLOBAL, "time jumped back")
