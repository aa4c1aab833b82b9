"""What `topicfm.precision: bfloat16` changes: matches of one pair beside those of float32.

    ./run bench published_precision [--size 480]

Weights are made by rule, images are noisy views of one texture (see published_network.py).
"""

from __future__ import annotations

import argparse

import torch
from published_network import reference_view, texture

from deviloc_ros.models.published.deviloc import DeViLoc, LiftedMatches
from deviloc_ros.models.published.rule_weights import rule_network
from deviloc_ros.models.published.settings import Precision, PublishedSettings

FOUND_AGAIN_PIXELS = 4.0


def matches(size: int, precision: Precision) -> LiftedMatches:
    chosen = PublishedSettings(coarse_threshold=0.05, max_matches=5000, cell_size=4)
    method = DeViLoc(rule_network("benchmark"), chosen, precision=precision)
    query = method.encode_query(texture(size, 0), (1.0, 1.0))
    (lifted,) = method.match(query, [method.encode_reference(reference_view(size, 0))])
    return lifted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=480)
    args = parser.parse_args()
    torch.set_num_threads(1)
    exact, reduced = matches(args.size, "float32"), matches(args.size, "bfloat16")
    # A match is found again where both of its keypoints lie in the same coarse cells, about.
    in_query = torch.cdist(exact.query_keypoints, reduced.query_keypoints)
    in_reference = torch.cdist(exact.reference_keypoints, reduced.reference_keypoints)
    distance = torch.maximum(in_query, in_reference).amin(1)
    found = distance[distance < FOUND_AGAIN_PIXELS]
    low, high = torch.quantile(found, torch.tensor([0.5, 0.95])).tolist()
    print(
        f"{args.size} px: {len(exact.points)} matches in float32, {len(reduced.points)} in "
        f"bfloat16; {len(found)} of the former are found again, keypoints {low:.2f} px apart in "
        f"the median, {high:.2f} px at 95 %"
    )


if __name__ == "__main__":
    main()
