"""Does LighterGlue match real nights better if it is trained on simulated ones?

    ./run bench night_training PAIRS --work WORK [--groups 32] [--steps 300] [--rate 1e-4]

PAIRS is a folder for `./run bench pairs`; it is only measured on. Examples are made in WORK
(night/examples.py), the published network is trained on (night/fine_tuning.py), and both are
compared: on examples that were held back, and on the real pairs, matched with context. A run that
was stopped goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pairs
from night.examples import make_examples
from night.fine_tuning import fine_tune, quality

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.errors import InputError
from deviloc_ros.localization.context.attention import MIN_PROBABILITY
from deviloc_ros.models.lighterglue import LighterGlue, load_lighterglue

HELD_BACK = 8


def measure(name: str, network: LighterGlue, folders: Sequence[Path]) -> str:
    """Match real pairs with context by a network; return the line about them."""

    def load(widths: Sequence[int]) -> LighterGlue:
        made = LighterGlue(widths)
        made.load_state_dict(network.state_dict())
        return made.eval().requires_grad_(False)

    ways = pairs.OwnWays(LocalizerConfig(), load)
    return pairs.measure(name, ways.context, [pairs.Pair.read(path) for path in folders], None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make examples, train, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--groups", type=int, default=32, help="of two dozen examples")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rate", type=float, default=1e-4, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    folders = sorted(path.parent for path in args.pairs.glob("*/corrs.txt"))
    if not folders or args.groups <= HELD_BACK:
        print(f"error: {args.pairs}: holds no pair, or --groups is not above {HELD_BACK}",
              file=sys.stderr)  # fmt: skip
        return 2
    try:
        groups = make_examples(args.work / "examples", args.groups, args.seed)
        held_back = [example for group in groups[:HELD_BACK] for example in group]
        learned = [example for group in groups[HELD_BACK:] for example in group]
        trained = fine_tune(learned, args.work, args.steps, args.rate, args.seed)
        networks = {"published": load_lighterglue(), "trained": trained}
        lines = [measure(name, network, folders) for name, network in networks.items()]
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{len(learned)} examples, {args.steps} steps, {len(held_back)} examples held back")
    for name, network in networks.items():
        found = quality(network, held_back, MIN_PROBABILITY)
        print(f"{name} on examples held back: precision {found.precision:.1%}, "
              f"recall {found.recall:.1%}")  # fmt: skip
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
