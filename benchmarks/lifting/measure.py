"""Localizes a scene's queries in variants of its map, and keeps what came of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deviloc_ros.atomic import atomic_path
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import read_gray
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.backend import backend_of
from deviloc_ros.localization.types import PoseEstimate, Query
from deviloc_ros.maps.map import Map
from lifting.depth import hidden_depth_errors, sensor_depth_errors
from lifting.keypoints import DETECTORS, map_of_keypoints
from lifting.lifts import Lifter, SharedMatches
from lifting.maps import BLOCKS, Variant
from lifting.queries import CONDITIONS, PLAIN
from lifting.scenes import Scene
from lifting.sift import SIFT, SiftLocalizer

SEED = 0
# A scene without a unit gets one by which its observed points are this far away, in the median.
USUAL_DEPTH = 10.0
NO_POSE = (np.inf, np.inf)


class Measurement:
    """Measures one scene; what variants have in common is computed once."""

    def __init__(
        self, scene: Scene, work: Path, config: LocalizerConfig, lifts: Sequence[str]
    ) -> None:
        """Measure these lifts with a configuration; results are kept in a folder."""
        self._lifts = lifts
        self._scene = scene
        self.blocks = [block for block in BLOCKS if block == "points" or not scene.points_only]
        self._work = work
        self._config = config
        self._whole = Map.load(scene.map_path)
        self._unit = 1.0 if scene.metric else USUAL_DEPTH / _median_depth(self._whole)
        self._has_points = len(self._whole.point_array) > 0
        self._matches = SharedMatches(self._whole, config)
        self._extractor = backend_of(config).extractor()
        self._described: dict[str, list[Query]] = {}
        self._sift = SiftLocalizer(scene.images, config)
        self._lifters: dict[str, Lifter] = {}

    def block(self, block: str) -> None:
        """Measure all methods for every variant of a block, but for what is there already."""
        conditions = [name for name in CONDITIONS if (name == PLAIN) != (block == "queries")]
        for variant in BLOCKS[block]:
            if isinstance(variant, str) and variant not in DETECTORS:
                print(f"{variant}: left out, its package is not installed")
                continue
            if isinstance(variant, Variant) and variant != Variant() and not self._has_points:
                continue  # every such map would be the same
            for condition in conditions:
                self._compare(variant, condition)
        # The block of queries asks for the whole map again.
        self._lifters = {str(Variant()): self._lifter(Variant())}

    def _compare(self, variant: Variant | str, condition: str) -> None:
        for method in self._lifts:
            self._keep(variant, condition, method, self._measure)
        # Of other keypoints than SIFT's the map has no SIFT descriptors.
        if isinstance(variant, Variant):
            self._keep(variant, condition, SIFT, self._measure_sift)

    def _measure(self, variant: Variant | str, condition: str, method: str) -> dict[str, Any]:
        lifted = self._lifter(variant)(method)
        content: dict[str, Any] = {}
        if condition == PLAIN:
            hidden = hidden_depth_errors(self._whole, lifted, self._config)
            # Of a map with all its points nothing is hidden.
            content["hidden"] = hidden.summary() if hidden.asked else None
            if self._scene.depth_images is not None:
                sensed = sensor_depth_errors(lifted, self._scene.depth_images, self._config)
                content["sensor"] = sensed.summary()
        localizer = Localizer(lifted, self._config)
        poses: list[Transform | None] = []
        references = []
        for query in self._queries(condition):
            result = localizer.localize_query(query)
            references.append(list(result.references))
            poses.append(result.camera_from_map if isinstance(result, PoseEstimate) else None)
        return {"errors": self._errors(poses), "references": references, **content}

    def _measure_sift(self, variant: Variant | str, condition: str, _: str) -> dict[str, Any]:
        first = json.loads(self._kept(variant, condition, self._lifts[0]).read_text("utf-8"))
        place = self._place(variant)
        poses = []
        for query, names in zip(self._queries(condition), first["references"], strict=True):
            assert query.image is not None, "queries are made of images"
            poses.append(self._sift(place, query.image, query.camera, names))
        return {"errors": self._errors(poses)}

    def _errors(self, poses: Sequence[Transform | None]) -> list[tuple[float, float]]:
        """Return metres and degrees of every query; infinite without a pose."""
        errors = []
        for pose, query in zip(poses, self._scene.queries, strict=True):
            if pose is None:
                errors.append(NO_POSE)
                continue
            distance, angle = pose.inverse().distance_to(query.camera_from_map.inverse())
            errors.append((distance * self._unit, angle))
        return errors

    def _place(self, variant: Variant | str) -> Map:
        """Return the map with other points; its keypoints still have those of the whole map."""
        if isinstance(variant, Variant):
            return variant.apply(self._whole, SEED)
        name = f"{self._scene.title} {variant}".replace(" ", "-")
        return map_of_keypoints(self._whole, self._scene.images, self._work / name, variant, SEED)

    def _lifter(self, variant: Variant | str) -> Lifter:
        if str(variant) not in self._lifters:
            self._lifters[str(variant)] = Lifter(self._place(variant), self._config, self._matches)
        return self._lifters[str(variant)]

    def _queries(self, condition: str) -> Sequence[Query]:
        """Return the queries with their features, which all variants of the map share."""
        if condition not in self._described:
            self._described[condition] = []
            for index, posed in enumerate(self._scene.queries):
                image = read_gray(self._scene.query_images / posed.name)
                seen = CONDITIONS[condition](image, np.random.default_rng([SEED, index]))
                (features,) = self._extractor.extract([seen])
                self._described[condition].append(Query(features, posed.camera, seen))
        return self._described[condition]

    def _kept(self, variant: Variant | str, condition: str, method: str) -> Path:
        parts = (self._scene.title, variant, condition, method, self._config, self._whole.source)
        return self._work / f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:20]}.json"

    def _keep(
        self,
        variant: Variant | str,
        condition: str,
        method: str,
        measure: Callable[[Variant | str, str, str], dict[str, Any]],
    ) -> None:
        """Write what is measured to a file, unless it is there."""
        kept = self._kept(variant, condition, method)
        if kept.exists():
            return
        content = {
            "scene": self._scene.title,
            "variant": str(variant),
            "condition": condition,
            "method": method,
            **measure(variant, condition, method),
        }
        with atomic_path(kept) as temporary:
            temporary.write_text(json.dumps(content), encoding="utf-8")


def _median_depth(whole: Map) -> float:
    """Return how far points are from the cameras that observe them, in the median."""
    depths = []
    for index, reference in enumerate(whole.references):
        seen = np.asarray(whole.observation_points[whole.observations_of(index)])
        depths.append(reference.camera_from_map.apply(whole.points3d[seen])[:, 2])
    return float(np.median(np.concatenate(depths)))
