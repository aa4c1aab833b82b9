"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from deviloc_ros.atomic import check_writable, is_standard_output

if TYPE_CHECKING:
    from deviloc_ros.config import Key, LocalizerConfig

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
MOST_LEFT_OUT = 20
AXES = ("x", "y", "z", "minus-x", "minus-y", "minus-z")


def tell_left_out(items: Sequence[object]) -> None:
    """Tell what could not be used on stderr, a line for each as long as they are few."""
    for item in items[:MOST_LEFT_OUT]:
        print(f"deviloc: left out: {item}", file=sys.stderr)
    if len(items) > MOST_LEFT_OUT:
        print(f"deviloc: left out: {len(items) - MOST_LEFT_OUT} more", file=sys.stderr)


def note(text: str) -> None:
    """Tell whoever started the command, beside what it prints."""
    print(f"deviloc: note: {text}", file=sys.stderr)


def add_command(
    subparsers: Subparsers, name: str, help: str, description: str, examples: str
) -> argparse.ArgumentParser:
    """Add a command whose --help ends with examples."""
    return subparsers.add_parser(
        name,
        help=help,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_bag_images(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Add the bag, which of its images are meant, and the folder for what becomes of them."""
    parser.add_argument("bag", type=Path, metavar="BAG", help="folder, or .mcap or .db3 file")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for the results"
    )
    if several:
        parser.add_argument(
            "--topic",
            action="append",
            default=[],
            metavar="[NAME=]TOPIC",
            help="image topic; needed where the bag has several; once for each camera of a rig",
        )
    else:
        parser.add_argument("--topic", help="image topic; needed where the bag has several")
    parser.add_argument(
        "--camera-info", metavar="TOPIC", help="default: camera_info beside the image topic"
    )
    parser.add_argument(
        "--rectified",
        choices=("auto", "yes", "no"),
        default="auto",
        help="images are rectified, so that P of camera_info holds; auto: if the topic's name "
        "has the word 'rect' or 'rectified', as image_rect_color has",
    )
    parser.add_argument(
        "--odom-frame", metavar="FRAME", help="the bag's odometry frame, default: odom"
    )


def add_config(parser: argparse.ArgumentParser, of_robot: bool = False) -> None:
    """Add the ways to set keys of the configuration: the localizer's, or a robot's."""
    group = parser.add_argument_group("configuration")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where networks run")
    group.add_argument(
        "--matcher", choices=("xfeat", "topicfm", "aliked"), help="which network matches"
    )
    group.add_argument("--config", type=Path, metavar="FILE.yaml", help="read keys from a file")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set one key, such as retrieval.num_references=10; repeatable, wins over --config",
    )
    keys = _ListRobotKeys if of_robot else _ListKeys
    group.add_argument("--keys", action=keys, help="list all keys with defaults and leave")


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add who computes what can be done image by image."""
    parser.add_argument(
        "--workers",
        metavar="N|ADDRESS",
        help="N processes on this machine, or a Ray cluster, such as HOST:6379 (needs Ray: pip "
        "install 'deviloc_ros[ray]'); they compute on CPUs, see docs/speed.md",
    )


def load_config(args: argparse.Namespace) -> LocalizerConfig:
    """Return the configuration: defaults, then --config, then --set, then --device and --matcher.

    Raises:
        InputError: an unknown key or a value out of its bounds.
    """
    from deviloc_ros.config import LocalizerConfig, load

    return load(LocalizerConfig, args.config, assignments(args))


def assignments(args: argparse.Namespace) -> list[str]:
    """Return `key=value` of --set, --device and --matcher, in the order in which they win."""
    texts = list(args.set)
    if args.device:
        texts.append(f"device={args.device}")
    if args.matcher:
        texts.append(f"matching.matcher={args.matcher}")
    return texts


def check_output(path: Path | None) -> None:
    """Refuse a file that could not be written, before hours of work rather than after.

    Raises:
        InputError: its folder does not exist or is not writable, or the path is a folder.
    """
    if path is not None:
        check_writable(path)


def tell_unread(folder: Path) -> None:
    """Say which images of a folder are in formats that cannot be read."""
    from deviloc_ros.datasets.image_folder import unread_images

    if unread := unread_images(folder):
        kinds = ", ".join(sorted({Path(name).suffix.lower() for name in unread}))
        print(
            f"deviloc: note: {len(unread)} files of {folder} are left out, for {kinds} is not read "
            f"({unread[0]}, ...); convert them to JPEG or PNG",
            file=sys.stderr,
        )


def tell(text: str, *outputs: Path | None) -> None:
    """Print what was done; where an output is /dev/stdout itself, beside it: on stderr."""
    mixed = any(is_standard_output(path) for path in outputs)
    print(text, file=sys.stderr if mixed else sys.stdout)


class _ListKeys(argparse.Action):
    """Prints the configuration's keys and leaves."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **kwargs)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from deviloc_ros.config import keys

        for key in keys(self._schema()):
            print(f"{key.name} = {key.default}\n    {key.description}{_allowed(key)}")
        parser.exit()

    def _schema(self) -> type[LocalizerConfig]:
        from deviloc_ros.config import LocalizerConfig

        return LocalizerConfig


class _ListRobotKeys(_ListKeys):
    """The same for a robot's keys."""

    def _schema(self) -> type[LocalizerConfig]:
        from deviloc_ros.robot.config import RobotConfig

        return RobotConfig


def _allowed(key: Key) -> str:
    if key.choices:
        return f" ({' | '.join(key.choices)})"
    bounds = []
    if key.minimum is not None:
        bounds.append(f"{'from' if key.minimum[1] else 'above'} {key.minimum[0]:.10g}")
    if key.maximum is not None:
        bounds.append(f"{'to' if key.maximum[1] else 'below'} {key.maximum[0]:.10g}")
    return f" ({' '.join(bounds)})" if bounds else ""
