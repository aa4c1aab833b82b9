"""The demo in small: two drives, a map, the node in its own process, and the page."""

from __future__ import annotations

import os
import sys
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed; ./run test brings it")
pytest.importorskip("vtkmodules", reason="the simulated street is rendered with VTK")

from deviloc_ros.cli.main import main
from deviloc_ros.datasets.poses import read_tum
from deviloc_ros.demo.passes import Scene
from deviloc_ros.demo.run import result_line, run_demo
from deviloc_ros.geometry.camera import Camera

pytestmark = pytest.mark.ros

SCENE = Scene(
    length=12.0,
    spacing=1.5,
    queries=4,
    camera=Camera("PINHOLE", 480, 360, (315.0, 315.0, 240.0, 180.0)),
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return folder, run_demo(folder, SCENE, live=True)


def test_the_node_gives_the_poses_that_the_bag_gives_bit_for_bit(demo):
    _, result = demo
    summary = result.summary
    answered = [score for score in result.scores if score.live.status != "dropped"]
    assert len(answered) >= 3, [score.live for score in result.scores]
    assert summary.identical == summary.answered == len(answered)
    assert f"bit for bit in {len(answered)} of {len(answered)}" in result_line(result)


def test_poses_and_transforms_are_near_the_truth(demo):
    folder, result = demo
    assert result.summary.localized >= 3
    for score in result.scores:
        if score.error is not None:
            metres, degrees = score.error
            assert metres < max(0.3, 4 * score.sigma)
            assert degrees < 1.5
            assert 0 < score.live.latency < 60
    truth = dict(read_tum(folder / "truth_tum.txt"))
    # map -> odom is repeated until the next pose; each, with odometry, gives the base of its image.
    corrections = read_tum(folder / "live" / "map_from_odom_tum.txt")
    odometry = {score.offline.stamp: score.dead_reckoning for score in result.scores}
    start = truth[min(truth)]
    stamps = [stamp for stamp, _ in corrections]
    assert stamps == sorted(set(stamps))
    transforms = [transform for _, transform in corrections]
    changed = [transforms[0]] + [
        after
        for before, after in pairwise(transforms)
        if before.distance_to(after) != pytest.approx((0, 0), abs=1e-9)
    ]
    localized = sorted(
        (score for score in result.scores if score.live.map_from_base is not None),
        key=lambda score: score.offline.stamp,
    )
    assert len(localized) == result.summary.localized
    # Of poses between which the clock does not move, as on a busy machine, the last is published.
    assert len(localized) - 1 <= len(changed) <= len(localized)
    poses = iter(localized)
    for map_from_odom in changed:
        from_odom = map_from_odom @ start.inverse()
        assert any(
            (from_odom @ odometry[score.offline.stamp]).distance_to(score.live.map_from_base)
            == pytest.approx((0, 0), abs=1e-6)
            for score in poses  # goes on where it stopped: they come in order
        )


def test_the_node_ends_cleanly_at_sigint(demo):
    folder, result = demo
    assert result.node_exit_code == 0, (folder / "live" / "node.log").read_text()


class Links(HTMLParser):
    """Collects what a page loads from elsewhere."""

    def __init__(self):
        super().__init__()
        self.foreign, self.tags = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href") and not (value or "").startswith(("data:", "#")):
                self.foreign.append((tag, value))


def test_the_page_is_whole_and_needs_no_other_file(demo):
    _, result = demo
    text = result.page.read_text(encoding="utf-8")
    links = Links()
    links.feed(text)
    assert not links.foreign
    assert links.tags.count("svg") == 3
    assert links.tags.count("tr") == 1 + len(result.scores)
    assert "nan" not in text.lower().split("</style>")[1].split("<svg")[0]
    metres, _ = result.summary.median
    assert f"median error {100 * metres:.1f} cm" in text


def test_rendering_again_gives_the_same_recording(demo, tmp_path):
    from deviloc_ros.bags.reader import Bag
    from deviloc_ros.demo.passes import record_second_pass

    folder, _ = demo
    again = record_second_pass(SCENE, tmp_path)
    with Bag(folder / "second_pass") as one, Bag(again.bag) as other:
        for left, right in zip(one.raw(), other.raw(), strict=True):
            assert (left.topic, left.stamp, left.data) == (right.topic, right.stamp, right.data)


def test_without_rclpy_it_says_so(monkeypatch, capsys, tmp_path):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        "deviloc_ros.cli.demo.find_spec", lambda name: None if name == "rclpy" else real(name)
    )
    assert main(["demo", "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "--offline" in error
    assert not (tmp_path / "out").exists()


def test_the_demo_itself_imports_no_middleware():
    import subprocess

    code = "import deviloc_ros.demo.run, sys; assert 'rclpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)


def test_sigma_is_the_worst_direction(demo):
    _, result = demo
    score = next(s for s in result.scores if s.covariance is not None)
    assert score.sigma >= np.sqrt(np.trace(score.covariance[:3, :3]) / 3)
