"""Retrieval among many images: time and recall, beside comparing with all and beside faiss.

    ./run bench retrieval DATA [--work DIR] [--counts N ...]

DATA holds one folder a scene, each with images/. Every fifth image is a query, the others are
stored as what they are. To them come descriptors of images that nobody took, up to N in all:
mixtures of two stored ones of different scenes, with noise. Recall is the share of the five stored
descriptors most similar to a query, by comparing with all, that a way finds. faiss is measured if
it is installed (pip install faiss-cpu): a product quantizer of 64 bytes, its best 256 compared as
they are. Times are medians a query, the ways in turn.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from deviloc_ros.atomic import atomic_path
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.datasets.image_folder import list_images
from deviloc_ros.images import read_gray
from deviloc_ros.localization.features import FeatureExtractor
from deviloc_ros.localization.retrieval.global_descriptor import (
    describe,
    make_codebook,
    sample_descriptors,
)
from deviloc_ros.localization.retrieval.similarity_index import SimilarityIndex

NEAREST = 5
NOISE = 0.4
Search = Callable[[torch.Tensor], NDArray[np.int64]]


def described(data: Path, kept: Path) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Return descriptors (N, G) of all images of all scenes, and the scene of each."""
    if not kept.exists():
        extractor = FeatureExtractor(LocalizerConfig())
        scenes = [folder for folder in sorted(data.iterdir()) if (folder / "images").is_dir()]
        paths = [
            (number, folder / "images" / name)
            for number, folder in enumerate(scenes)
            for name in list_images(folder / "images")
        ]
        features = [extractor.extract([read_gray(path)])[0] for _, path in tqdm(paths)]
        words = torch.from_numpy(
            make_codebook(sample_descriptors([f.descriptors.numpy() for f in features], 0), 0)
        )
        rows = torch.stack([describe(item, words) for item in features]).numpy()
        with atomic_path(kept) as temporary, temporary.open("wb") as file:
            np.savez(file, rows=rows.astype(np.float16), scene=[number for number, _ in paths])
    with np.load(kept, allow_pickle=False) as content:
        return content["rows"], content["scene"]


def enlarged(
    real: NDArray[np.float16], scene: NDArray[np.int64], count: int
) -> NDArray[np.float16]:
    """Return the descriptors and mixtures of them, `count` in all."""
    generator = np.random.default_rng(0)
    result = np.empty((max(count, len(real)), real.shape[1]), np.float16)
    result[: len(real)] = real
    for row in range(len(real), len(result)):
        a, b = generator.integers(0, len(real), 2)
        while scene[a] == scene[b]:
            a, b = generator.integers(0, len(real), 2)
        share = generator.uniform(0.3, 0.7)
        noise = generator.normal(0, NOISE / real.shape[1] ** 0.5, real.shape[1])
        mixed = share * real[a] + (1 - share) * real[b] + noise
        result[row] = mixed / np.linalg.norm(mixed)
    return result


def faiss_search(stored: NDArray[np.float16]) -> tuple[Search, int]:
    """Return a search by faiss, and the bytes of its index."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexPQ(stored.shape[1], 64, 8, faiss.METRIC_INNER_PRODUCT)
    index.train(stored[:: max(1, len(stored) // 8192)].astype(np.float32))
    for start in range(0, len(stored), 8192):
        index.add(stored[start : start + 8192].astype(np.float32))

    def search(query: torch.Tensor) -> NDArray[np.int64]:
        _, found = index.search(query.numpy()[None], 256)
        rows = np.sort(found[0])
        similarity = stored[rows].astype(np.float32) @ query.numpy()
        return np.asarray(rows[np.argsort(-similarity, kind="stable")[:NEAREST]])

    return search, 64 * len(stored)


def measure(stored: NDArray[np.float16], queries: torch.Tensor) -> None:
    """Print time and recall of each way."""
    everything = np.ones(len(stored), dtype=np.bool_)
    whole = torch.from_numpy(stored).float()

    def compare_all(query: torch.Tensor) -> NDArray[np.int64]:
        return np.argsort(-(whole @ query).numpy(), kind="stable")[:NEAREST]

    start = time.monotonic()
    index = SimilarityIndex(stored, torch.device("cpu"))
    opened = time.monotonic() - start
    ways: dict[str, Search] = {
        "all": compare_all,
        "index": lambda query: index.nearest(query, everything, NEAREST),
    }
    if importlib.util.find_spec("faiss") is not None:
        ways["faiss"], _ = faiss_search(stored)
    found: dict[str, list[NDArray[np.int64]]] = {name: [] for name in ways}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for query in queries:
        for name, search in ways.items():
            start = time.monotonic()
            found[name].append(search(query))
            seconds[name].append(time.monotonic() - start)
    for name in ways:
        recall = np.mean(
            [np.isin(a, b).mean() for a, b in zip(found["all"], found[name], strict=True)]
        )
        first = np.mean([a[0] == b[0] for a, b in zip(found["all"], found[name], strict=True)])
        note = f", opened in {opened:.1f} s" if name == "index" else ""
        print(
            f"{len(stored):7d} images, {name:6s} {np.median(seconds[name]) * 1e3:7.2f} ms a query, "
            f"recall@{NEAREST} {recall:.3f}, best found {first:.3f}{note}",
            flush=True,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure for each number of images."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--counts", nargs="+", type=int, default=[1_000, 10_000, 100_000])
    args = parser.parse_args(arguments)
    work = args.work or Path(tempfile.mkdtemp(prefix="retrieval-"))
    work.mkdir(parents=True, exist_ok=True)
    rows, scene = described(args.data, work / "descriptors.npz")
    query = np.arange(len(rows)) % 5 == 0
    print(f"{np.count_nonzero(query)} queries, {np.count_nonzero(~query)} real images stored")
    queries = torch.from_numpy(rows[query]).float()
    for count in args.counts:
        measure(enlarged(rows[~query], scene[~query], count), queries)
    return 0


if __name__ == "__main__":
    sys.exit(main())
