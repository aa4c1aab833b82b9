"""The configuration: files, assignments, and what is said about wrong ones."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deviloc_ros.config import Key, LocalizerConfig, build, keys, load
from deviloc_ros.errors import InputError
from deviloc_ros.robot.config import RobotConfig

KEYS = list(keys(LocalizerConfig))


def _value(config: LocalizerConfig, name: str) -> object:
    value: object = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


def test_file_then_assignments(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("seed: 3\nretrieval:\n  num_references: 7\n  cluster: false\n")
    config = load(LocalizerConfig, path, ["retrieval.num_references=9", "matching.matcher=topicfm"])
    assert config.seed == 3
    assert config.retrieval.num_references == 9
    assert config.retrieval.cluster is False
    assert config.matching.matcher == "topicfm"
    assert config.pose == LocalizerConfig().pose


def test_keys_may_be_dotted_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("retrieval.num_references: 7\n")
    assert load(LocalizerConfig, path).retrieval.num_references == 7


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_every_key_is_described_and_takes_its_default_as_text(key: Key) -> None:
    assert key.description
    unbounded = not key.choices and key.minimum is None and key.maximum is None
    assert key.type in (bool, str) or not unbounded
    config = load(LocalizerConfig, None, [f"{key.name}={json.dumps(key.default)}"])
    assert config == LocalizerConfig()
    assert _value(config, key.name) == key.default


@pytest.mark.parametrize("key", [k for k in KEYS if k.minimum or k.maximum], ids=lambda k: k.name)
def test_bounds_hold(key: Key) -> None:
    wrong = []
    if key.minimum is not None:
        wrong.append(key.minimum[0] - 1)
        if not key.minimum[1]:
            wrong.append(key.minimum[0])
    if key.maximum is not None:
        wrong.append(key.maximum[0] + 1)
        if not key.maximum[1]:
            wrong.append(key.maximum[0])
    for value in wrong:
        with pytest.raises(InputError, match=key.name):
            build(LocalizerConfig, {key.name: value}, "test")


@pytest.mark.parametrize("key", [k for k in KEYS if k.choices], ids=lambda k: k.name)
def test_choices_hold_and_are_told(key: Key) -> None:
    for choice in key.choices:
        assert _value(build(LocalizerConfig, {key.name: choice}, "test"), key.name) == choice
    with pytest.raises(InputError) as error:
        build(LocalizerConfig, {key.name: "nonsense"}, "test")
    assert all(choice in str(error.value) for choice in key.choices)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("retrieval: {num_reference: 3}", r"retrieval\.num_reference is not a known key; known: "),
        ("retrieval: {num_references: many}", r"retrieval\.num_references = 'many': "),
        ("retrieval: {num_references: 0}", r"retrieval\.num_references = 0: .*greater"),
        ("retrieval: {num_references: 1.5}", r"retrieval\.num_references = 1\.5: "),
        ("retrieval: 5", r"retrieval = 5: "),
        ("just text", "must hold 'key: value' lines"),
        ("[1, 2]", "must hold 'key: value' lines"),
        ("a: [", "not a readable YAML file"),
        ("seed: 2026-13-45", "not a readable YAML file"),
        ("[" * 3000, "not a readable YAML file"),
        ("a: &a [1]\nb: [*a, *a]", "aliases"),
        ("retrieval: &r {num_references: 3, more: *r}", "aliases"),
        ("!!python/object/apply:os.system ['true']", "not a readable YAML file"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=expected) as error:
        load(LocalizerConfig, path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_files_that_are_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a readable YAML file"):
        load(LocalizerConfig, tmp_path / "nowhere.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(InputError, match="is larger than"):
        load(LocalizerConfig, tmp_path / "large.yaml")
    (tmp_path / "marked.yaml").write_bytes(b"\xef\xbb\xbfseed: 7")
    assert load(LocalizerConfig, tmp_path / "marked.yaml").seed == 7
    (tmp_path / "empty.yaml").touch()
    assert load(LocalizerConfig, tmp_path / "empty.yaml") == LocalizerConfig()


@pytest.mark.parametrize("text", ["seed", "seed=", "seed=abc", "nothing=1", "seed=[1", "a.b.c=1"])
def test_wrong_assignments(text: str) -> None:
    with pytest.raises(InputError):
        load(LocalizerConfig, None, [text])


@given(st.integers(0, 2**31 - 1), st.integers(1, 100), st.floats(0, 1))
def test_what_is_dumped_is_read_back(seed: int, references: int, confidence: float) -> None:
    values = {
        "seed": seed,
        "retrieval.num_references": references,
        "matching.fine_confidence": confidence,
    }
    config = build(LocalizerConfig, values, "test")
    assert build(LocalizerConfig, config.model_dump(), "test") == config


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            {"retrieval.prior_gate_sigmas": 3.0},
            "retrieval.prior_gate_sigmas is called retrieval.prior_sigmas now",
        ),
        ({"lifting.method": "pin"}, "this method is called 'learned' now"),
    ],
)
def test_what_was_renamed_is_told_in_one_line(values: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        build(LocalizerConfig, values, "mine.yaml")
    assert "\n" not in str(caught.value)


def test_a_refusal_keeps_nothing_alive() -> None:
    """Else a node that refuses a parameter would stay in the graph of ROS for ever."""

    class Node:
        pass

    def refused() -> tuple[weakref.ref[Node], InputError]:
        node = Node()
        # A value that a validator of our own refuses: pydantic keeps that one's frames.
        with pytest.raises(InputError) as error:
            build(RobotConfig, {"cameras": ["left", "left"]}, "test")
        return weakref.ref(node), error.value

    reference, _ = refused()
    del _
    gc.collect()
    assert reference() is None
