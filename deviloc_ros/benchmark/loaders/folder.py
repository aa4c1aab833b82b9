"""What loaders share: the line about missing files, lists with intrinsics, folders of scenes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from deviloc_ros.benchmark.types import BenchmarkQuery
from deviloc_ros.datasets.lines import read_lines
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera

NAMED = 6
MODEL_FILES = ("cameras", "images", "points3D")
Wanted = str | tuple[str, ...]
"""A path below the root, with a slash at its end if it is a folder; or several, one is enough."""


def require(root: Path, title: str, wanted: Iterable[Wanted]) -> None:
    """Refuse a folder that is not complete.

    Raises:
        InputError: in one line, all that is missing.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the folder of {title}")
    missing = []
    for item in wanted:
        choices = (item,) if isinstance(item, str) else item
        if not any(_there(root / choice, choice.endswith("/")) for choice in choices):
            missing.append(" or ".join(choices))
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise InputError(
            f"{root}: is not a complete {title}: there is no {', no '.join(missing[:NAMED])}"
            f"{more}; docs/benchmarks.md shows its layout"
        )


def _there(path: Path, folder: bool) -> bool:
    return path.is_dir() if folder else path.is_file()


def model_choices(folder: str) -> tuple[str, ...]:
    """Return what tells that a folder holds a COLMAP model, for `require`."""
    return f"{folder}/images.bin", f"{folder}/images.txt"


def model_sources(folder: Path) -> Sequence[Path]:
    """Return the files of a COLMAP model."""
    return sorted(path for path in folder.iterdir() if path.suffix in (".bin", ".txt"))


def first_folder(root: Path, *names: str) -> Path:
    """Return the first of these folders that is there; `require` has made sure of one."""
    return next(root / name for name in names if (root / name).is_dir())


def read_intrinsics(path: Path) -> Mapping[str, Camera]:
    """Read "name MODEL width height param ..." lines; the lists of visuallocalization.net.

    Raises:
        InputError: the file cannot be read, or a line of it is wrong.
    """
    cameras: dict[str, Camera] = {}
    for place, text in read_lines(path):
        name, _, camera = text.partition(" ")
        try:
            cameras[name] = Camera.parse(camera)
        except InputError as error:
            expected = "name MODEL width height param ..."
            raise InputError(f"{place}: expected '{expected}': {error}") from None
    return cameras


def read_names(path: Path) -> Sequence[str]:
    """Read a list of images: the first field of every line.

    Raises:
        InputError: the file cannot be read.
    """
    return [text.split()[0] for _, text in read_lines(path)]


def check_images(
    title: str, folder: Path, queries: Collection[BenchmarkQuery], source: str
) -> Sequence[str]:
    """Return a note where image files of queries are missing; they will have no pose.

    Raises:
        InputError: there is no query, or none of them has an image file.
    """
    if not queries:
        raise InputError(f"{source}: names no query of {title}")
    missing = [query.name for query in queries if not (folder / query.name).is_file()]
    if len(missing) == len(queries):
        raise InputError(
            f"{folder}: holds none of the {len(queries)} query images of {title}, such as "
            f"{missing[0]}; unpack the archives of images"
        )
    if not missing:
        return ()
    return (
        f"{len(missing)} of {len(queries)} query images are not in {folder} ({missing[0]}, ...)",
    )


def chosen(
    title: str, root: Path, there: Sequence[str], wanted: Collection[str] | None
) -> list[str]:
    """Return the places to use.

    Args:
        title: of the benchmark.
        root: its folder.
        there: names of all of its places.
        wanted: those that the user asks for; None: all.

    Raises:
        InputError: a name is none of them.
    """
    unknown = sorted(set(wanted or ()) - set(there))
    if unknown:
        raise InputError(
            f"{root}: {title} has no place {unknown[0]!r} here; there are {', '.join(there)}"
        )
    return [name for name in there if wanted is None or name in wanted]
