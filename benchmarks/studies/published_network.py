"""CPU-seconds and memory of the published network, by stage, with and without cached references.

    ./run bench published_network [--sizes 480 864] [--references 1 5 10] [--precision ...]

One query of a square image against K references of the same size, on one thread. Weights are made
by rule and images are noise: times do not depend on what the weights say, but for the number of
matches, which is printed. Each configuration runs in a process of its own, in which a query of one
reference went before: OpenVINO compiles its programs then, once for each size of image. `first` is
what that query took with encoding its reference, CPU-seconds. The query is then repeated and the
quickest time counts: other work on the machine makes CPU-seconds longer, too, never shorter.

    cached       references were encoded before; the query's backbone runs once
    uncached     references are encoded with the query; the query's backbone runs once
    per pair     the published order: both backbones run again for each reference
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from shared.process_memory import peak_bytes, reset_peak

from deviloc_ros.models.published.deviloc import DeViLoc, LiftedMatches
from deviloc_ros.models.published.pin_geometry import ReferenceCamera
from deviloc_ros.models.published.preprocessing import network_tensor
from deviloc_ros.models.published.reference import EncodedReference, ReferenceView
from deviloc_ros.models.published.rule_weights import rule_network
from deviloc_ros.models.published.settings import Precision, PublishedSettings
from deviloc_ros.models.topicfm import matcher
from deviloc_ros.models.topicfm.coarse_matching import coarse_matches
from deviloc_ros.models.topicfm.cpu_programs import CpuPrograms

MODES = ("cached", "uncached", "per pair")
STAGES = (
    "backbone",
    "PIN observed",
    "topics",
    "attention",
    "coarse",
    "fine",
    "PIN keypoints",
    "other",
)
NUM_OBSERVATIONS = 1500
NOISE = 8.0


class Stopwatch:
    """CPU-seconds of named functions, without what they call of each other's."""

    def __init__(self) -> None:
        """Start at zero."""
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def watch(self, owner: Any, name: str, stage: str) -> None:
        """Count the seconds of `owner.name` as a stage's from now on."""
        inner = getattr(owner, name)

        def timed(*args: Any, **options: Any) -> Any:
            start = time.process_time()
            result = inner(*args, **options)
            self.seconds[stage] += time.process_time() - start
            return result

        setattr(owner, name, timed)


def texture(size: int, index: int) -> torch.Tensor:
    """Return an image of one scene, each index from elsewhere and with other noise.

    Shifts are a pixel more than whole coarse cells: with the noise only some of the cells match.
    The number of matches is printed; a larger image does not have more.
    """
    shift = 8 * index + (index > 0)
    scene = np.random.default_rng(0).uniform(0, 255, (size, size + 256)).astype(np.float32)
    view = cv2.GaussianBlur(scene, (0, 0), 1.5)[:, shift : shift + size]
    image = view + np.random.default_rng(index + 1).normal(0, NOISE, view.shape)
    low, high = image.min(), image.max()
    return network_tensor(((image - low) * (255 / (high - low))).astype(np.uint8))


def reference_view(size: int, index: int) -> ReferenceView:
    generator = torch.Generator().manual_seed(index)
    intrinsics = torch.tensor([[size, 0, size / 2], [0, size, size / 2], [0, 0, 1]]).double()
    camera = ReferenceCamera(intrinsics, torch.eye(4).double(), None)
    pixels = torch.rand(NUM_OBSERVATIONS, 2, generator=generator).double() * size
    depth = 4 + 6 * torch.rand(NUM_OBSERVATIONS, 1, generator=generator).double()
    image = texture(size, index + 1)
    return ReferenceView(image, (1.0, 1.0), pixels, camera.rays(pixels) * depth, camera)


def measure(size: int, count: int, mode: str, precision: Precision, repeats: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    network = rule_network("benchmark")
    chosen = PublishedSettings(coarse_threshold=0.05, max_matches=5000, cell_size=4)
    method = DeViLoc(network, chosen, precision=precision)
    image, views = texture(size, 0), [reference_view(size, index) for index in range(count)]
    start = time.process_time()
    method.match(method.encode_query(image, (1.0, 1.0)), [method.encode_reference(views[0])])
    first = time.process_time() - start
    encoded = [method.encode_reference(view) for view in views] if mode == "cached" else []

    stopwatch = Stopwatch()
    stopwatch.watch(network.matcher, "encode", "backbone")
    stopwatch.watch(network.pts3d_infer, "observe", "PIN observed")
    stopwatch.watch(network.matcher.coarse_net, "infer_topics", "topics")
    stopwatch.watch(CpuPrograms, "augment", "attention")
    stopwatch.watch(matcher, "coarse_matches", "coarse")
    stopwatch.watch(network.matcher, "refine", "fine")
    stopwatch.watch(network.pts3d_infer, "forward", "PIN keypoints")
    before = reset_peak()
    rows = []
    for _ in range(repeats):
        stopwatch.seconds.clear()
        start = time.process_time()
        lifted = localize(method, image, views, encoded, mode)
        total = time.process_time() - start
        other = total - sum(stopwatch.seconds.values())
        rows.append({"total": total, "stages": {**stopwatch.seconds, "other": other}})
    return {
        **min(rows, key=lambda row: row["total"]),
        "size": size,
        "K": count,
        "mode": mode,
        "first": first,
        "matches": sum(len(part.points) for part in lifted),
        "peak_mb": (peak_bytes() - before) / 1e6,
    }


def localize(
    method: DeViLoc,
    image: torch.Tensor,
    views: list[ReferenceView],
    encoded: list[EncodedReference],
    mode: str,
) -> list[LiftedMatches]:
    if mode == "per pair":
        lifted = []
        for view in views:
            query = method.encode_query(image, (1.0, 1.0))
            lifted += method.match(query, [method.encode_reference(view)])
    else:
        query = method.encode_query(image, (1.0, 1.0))
        references = encoded or [method.encode_reference(view) for view in views]
        lifted = method.match(query, references)
    method.merge(lifted)
    return lifted


def measure_naive(size: int) -> dict[str, Any]:
    """Return the peak memory of dual softmax and mutual maxima by full matrices."""
    torch.set_num_threads(1)
    cells = (size // 8) ** 2
    query, reference = torch.randn(cells, 256), torch.randn(cells, 256)
    before = reset_peak()
    with torch.inference_mode():
        similarity = query @ reference.T / 16
        confidence = similarity.softmax(0) * similarity.softmax(1)
        keep = (confidence > 0.25) & (confidence == confidence.amax(1, keepdim=True))
        keep &= confidence == confidence.amax(0, keepdim=True)
        keep.nonzero()
    full = (peak_bytes() - before) / 1e6
    before = reset_peak()
    with torch.inference_mode():
        grid = (size // 8, size // 8)
        coarse_matches(query, reference, (grid, grid), 0.25, 2)
    blockwise = (peak_bytes() - before) / 1e6
    return {"size": size, "full_mb": full, "blockwise_mb": blockwise}


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    command = [sys.executable, __file__, "--one", json.dumps([function.__name__, *arguments])]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[480, 864])
    parser.add_argument("--references", type=int, nargs="+", default=[1, 5, 10])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--repeats", type=int, default=3, help="of each query; the quickest counts")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        name, *arguments = json.loads(args.one)
        functions: dict[str, Callable[..., Any]] = {
            "measure": measure,
            "measure_naive": measure_naive,
        }
        print(json.dumps(functions[name](*arguments)))
        return
    print(
        f"CPU-seconds, 1 thread, {args.precision}, least of {args.repeats}; "
        "peak: memory above weights and kept references"
    )
    print(f"{'px':>4} {'K':>3} {'mode':9} {'total':>6} " + " ".join(f"{s:>13}" for s in STAGES)
          + "  matches  peak MB  first")  # fmt: skip
    for size in args.sizes:
        for count in args.references:
            for mode in args.modes:
                row = in_own_process(measure, size, count, mode, args.precision, args.repeats)
                stages = " ".join(f"{row['stages'].get(stage, 0):13.2f}" for stage in STAGES)
                print(
                    f"{size:4} {count:3} {mode:9} {row['total']:6.2f} {stages}"
                    f" {row['matches']:8} {row['peak_mb']:8.0f} {row['first']:6.2f}",
                    flush=True,
                )
    for size in args.sizes:
        row = in_own_process(measure_naive, size)
        print(
            f"{size} px, coarse matching alone: {row['full_mb']:.0f} MB with full matrices, "
            f"{row['blockwise_mb']:.0f} MB in blocks"
        )


if __name__ == "__main__":
    main()
