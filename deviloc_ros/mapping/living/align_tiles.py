"""Tiles that overlap are brought into one frame: by localizing images of each in the others.

Every localized image is known in two tiles. All tiles but the first move as rigid bodies (with a
scale, unless they are metric) so that all these images agree as well as they can.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.errors import NothingFoundError
from deviloc_ros.geometry.similarity import Similarity
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.living.extend import config_of
from deviloc_ros.mapping.living.frame_fit import MIN_IMAGES, InBoth, fit_frames, residuals
from deviloc_ros.mapping.living.images_of_maps import certain, localize_images
from deviloc_ros.mapping.map_frame import transform_map
from deviloc_ros.mapping.tiling import BORDER_REACH, neighbours
from deviloc_ros.maps.map import Map

# An orientation is as well known as a position at this share of the distance to what is seen.
LEVER_SHARE = 0.5
ROBUST_STEPS = 3


@dataclass(frozen=True)
class Seam:
    """What images say of two tiles.

    Attributes:
        first: number of a tile.
        second: of the other one.
        num_images: images of either that were localized in the other one.
        before: median distance of their two positions (map units) and orientations (degrees).
        after: the same after the tiles were moved.
    """

    first: int
    second: int
    num_images: int
    before: tuple[float, float]
    after: tuple[float, float]


@dataclass(frozen=True)
class AlignedTiles:
    """What came of it.

    Attributes:
        maps: tiles in the frame of the first.
        seams: between tiles that overlap.
        loose: tiles that nothing ties to the first one; they stay where they were.
    """

    maps: Sequence[Map]
    seams: Sequence[Seam]
    loose: Sequence[int]


@dataclass(frozen=True)
class Tie:
    """Images known in two tiles.

    Attributes:
        first: number of a tile.
        second: of the other one.
        images: their poses in the second (source) and in the first one (target).
    """

    first: int
    second: int
    images: Sequence[InBoth]

    def first_from_second(self, rigid: bool) -> Similarity:
        """Return how the second tile lies in the first one, by these images alone.

        Raises:
            NothingFoundError: they do not agree on any transform.
        """
        what = f"tile {self.second + 1} against tile {self.first + 1}"
        return fit_frames(self.images, rigid, what).target_from_source


def align_tiles(tiles: Sequence[Map], config: LocalizerConfig, folder: Path) -> AlignedTiles:
    """Bring tiles that overlap into the frame of the first one.

    Args:
        tiles: maps that lie in one frame roughly: to less than BORDER_REACH.
        config: of the localizer.
        folder: keeps what was localized; an interrupted run is taken up from there.

    Raises:
        NothingFoundError: images of two tiles contradict each other.
    """
    ties = list(_ties(tiles, config_of(tiles[0], config), folder))
    moves = solve(ties, all(tile.metric for tile in tiles), _depth(tiles[0]))
    ties = [tie for tie in ties if tie.first in moves]
    still = dict.fromkeys(range(len(tiles)), Similarity.identity())
    seams = [
        Seam(tie.first, tie.second, len(tie.images), _apart(tie, still), _apart(tie, moves))
        for tie in ties
    ]
    maps = [
        transform_map(tile, moves[number], tile.metric, tile.gravity_aligned)
        if number and number in moves
        else tile
        for number, tile in enumerate(tiles)
    ]
    return AlignedTiles(maps, seams, [i for i in range(len(tiles)) if i not in moves])


def _ties(tiles: Sequence[Map], config: LocalizerConfig, folder: Path) -> Iterator[Tie]:
    for a, b in neighbours(tiles):
        known: list[InBoth] = []
        for images, others in ((a, b), (b, a)):
            near = _near(tiles[images], tiles[others])
            if not len(near):
                continue
            registered = localize_images(
                tiles[images], tiles[others], config, folder / f"{images}-in-{others}",
                f"tile {images + 1} in tile {others + 1}", near,
            )  # fmt: skip
            for i, item in certain(registered, MIN_IMAGES).items():
                own, found = tiles[images].references[i].camera_from_map, item.camera_from_map
                in_b, in_a = (found, own) if images == a else (own, found)
                known.append(InBoth(in_b, in_a, item.position_sigma))
        if len(known) >= MIN_IMAGES:
            yield Tie(a, b, known)


def _near(images: Map, others: Map) -> NDArray[np.int64]:
    """Return which images of a tile were taken near another one."""
    apart, _ = cKDTree(others.viewpoints[0]).query(images.viewpoints[0])
    return np.flatnonzero(np.asarray(apart) <= BORDER_REACH).astype(np.int64)


def _depth(tile: Map) -> float:
    """Return how far what images of a tile see is away, by and large."""
    centres = tile.viewpoints[0]
    seen = tile.points3d[:: max(1, len(tile.point_array) // 1000)]
    return float(np.median(cKDTree(centres).query(seen)[0])) if len(seen) else 1.0


def solve(ties: Sequence[Tie], rigid: bool, depth: float) -> dict[int, Similarity]:
    """Return how each tile moves that is tied to the first one, which stays.

    Positions and orientations count together: an orientation by where points at a share of the
    distance to what is seen would lie. Images count by how well they are known.

    Args:
        ties: between tiles.
        rigid: tiles keep their scale.
        depth: distance to what is seen, map units.

    Raises:
        NothingFoundError: images of two tiles contradict each other.
    """
    start = _chained(ties, rigid)
    sides = [
        (number, [start[number].camera_pose(pose).inverse() for pose in poses])
        for tie in ties
        if tie.first in start
        for number, poses in (
            (tie.first, [image.target for image in tie.images]),
            (tie.second, [image.source for image in tie.images]),
        )
    ]
    movable = sorted(start.keys() - {0})
    # Turns about the middle of what a tile is tied by hardly move it.
    middles = {
        number: np.mean([p.translation for i, poses in sides if i == number for p in poses], axis=0)
        for number in movable
    }
    tiles = np.concatenate([[i] * len(poses) for i, poses in sides[::2]] or [[]]).astype(int)
    others = np.concatenate([[i] * len(poses) for i, poses in sides[1::2]] or [[]]).astype(int)
    sigmas = np.array([i.sigma for tie in ties if tie.first in start for i in tie.images] or [1.0])
    spreads = sigmas / np.median(sigmas)
    centres, axes = (
        [np.array([what(p) for _, poses in sides[k::2] for p in poses]) for k in (0, 1)]
        for what in (_centre, _axes)
    )

    def moves_of(values: NDArray[np.float64]) -> dict[int, Similarity]:
        moves = {0: Similarity.identity()}
        for number, row in zip(movable, values.reshape(-1, 7), strict=True):
            turn = Rotation.from_rotvec(row[3:6] / depth)
            scale = 1.0 if rigid else float(np.exp(row[6] / depth))
            middle = middles[number]
            moves[number] = Similarity(scale, turn, middle + row[:3] - scale * turn.apply(middle))
        return moves

    def errors(values: NDArray[np.float64]) -> NDArray[np.float64]:
        moves = moves_of(values)
        off = np.zeros((len(tiles), 4, 3))
        for sign, numbers, places, directions in (
            (1, tiles, centres[0], axes[0]), (-1, others, centres[1], axes[1]),
        ):  # fmt: skip
            for number in np.unique(numbers).tolist():
                own = numbers == number
                off[own, 0] += sign * moves[number].apply(places[own])
                turned = directions[own] @ moves[number].rotation.as_matrix().T
                off[own, 1:] += sign * LEVER_SHARE * depth * turned
        return np.asarray(off / spreads[:, None, None]).ravel()

    values = np.zeros(7 * len(movable))
    for _ in range(ROBUST_STEPS if movable else 0):
        lengths = np.linalg.norm(errors(values).reshape(-1, 3), axis=1)
        sigma = max(1.4826 * float(np.median(lengths)), 1e-9)
        values = least_squares(errors, values, loss="cauchy", f_scale=sigma).x
    return {number: move @ start[number] for number, move in moves_of(values).items()}


def _centre(map_from_camera: Transform) -> NDArray[np.float64]:
    return map_from_camera.translation


def _axes(map_from_camera: Transform) -> NDArray[np.float64]:
    """Return the directions (3, 3) of a camera's axes, one a row."""
    return np.asarray(map_from_camera.rotation.as_matrix().T)


def _chained(ties: Sequence[Tie], rigid: bool) -> dict[int, Similarity]:
    """Return how tiles lie in the first one, each by the tie of most images on the way there."""
    found = {0: Similarity.identity()}
    while True:
        open_ties = [tie for tie in ties if (tie.first in found) != (tie.second in found)]
        if not open_ties:
            return found
        best = max(open_ties, key=lambda tie: len(tie.images))
        fit = best.first_from_second(rigid)
        if best.first in found:
            found[best.second] = found[best.first] @ fit
        else:
            found[best.first] = found[best.second] @ fit.inverse()


def _apart(tie: Tie, moves: Mapping[int, Similarity]) -> tuple[float, float]:
    moved = [
        InBoth(
            moves[tie.second].camera_pose(image.source),
            moves[tie.first].camera_pose(image.target),
            image.sigma,
        )
        for image in tie.images
    ]
    position, rotation = residuals(moved, Similarity.identity())
    return float(position), float(rotation)


def check_tied(aligned: AlignedTiles, names: Sequence[str]) -> None:
    """Refuse tiles of which nothing could be aligned.

    Raises:
        NothingFoundError: no two tiles overlap.
    """
    if not aligned.seams:
        raise NothingFoundError(
            f"no image of {names[0]} or another tile is localized in its neighbours: tiles that "
            "are to be aligned must overlap"
        )
