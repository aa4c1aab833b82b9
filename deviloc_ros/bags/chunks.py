"""Long recordings in chunks: each is written whole, an interrupted conversion goes on where it was.

The chunks are rosbag2 bags in `OUTPUT.part`. In the end their files become one bag of several
files, as `ros2 bag record --max-bag-duration` writes it; nothing is copied.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from deviloc_ros import __version__
from deviloc_ros.bags.writer import BagWriter
from deviloc_ros.errors import InputError
from deviloc_ros.lock import sole_user

INFORMATION = "rosbag2_bagfile_information"


@dataclass(frozen=True)
class Event:
    """A message that will be in the bag; it is made when it is written, so that few exist at once.

    Attributes:
        stamp: time of reception, nanoseconds.
        topic: absolute name.
        make: returns the message.
        latched: as /tf_static.
        counts: whether it counts for progress, as images do.
    """

    stamp: int
    topic: str
    make: Callable[[], Any]
    latched: bool = False
    counts: bool = False


class Recording(Protocol):
    """What is turned into a bag."""

    @property
    def image_stamps(self) -> Sequence[int]:
        """Stamps of all images, nanoseconds, ascending; there is at least one."""

    @property
    def fingerprint(self) -> str:
        """Text that changes with everything that the messages depend on."""

    def events(self, begin: int, end: int) -> Iterator[Event]:
        """Yield the messages of a span [begin, end), ascending; latched ones first."""


@dataclass(frozen=True)
class Span:
    """A chunk's time.

    Attributes:
        begin: first stamp, nanoseconds.
        end: first stamp after it.
        num_images: within.
    """

    begin: int
    end: int
    num_images: int


def plan_chunks(image_stamps: Sequence[int], images_per_chunk: int) -> Sequence[Span]:
    """Cut a recording after every so many images; images of one stamp stay together."""
    stamps = list(image_stamps)
    cuts = [0]
    while cuts[-1] < len(stamps):
        cut = min(cuts[-1] + images_per_chunk, len(stamps))
        while cut < len(stamps) and stamps[cut] == stamps[cut - 1]:
            cut += 1
        cuts.append(cut)
    ends = [stamps[cut] if cut < len(stamps) else stamps[-1] + 1 for cut in cuts[1:]]
    return [
        Span(stamps[first], end, after - first)
        for first, after, end in zip(cuts[:-1], cuts[1:], ends, strict=True)
    ]


def write_recording(
    path: Path,
    recording: Recording,
    images_per_chunk: int,
    advance: Callable[[int], object] = lambda images: None,
) -> int:
    """Write a recording as a bag of mcap files, which appears when it is whole.

    The same call after an interruption keeps the chunks that are done. Memory holds one message.

    Args:
        path: the bag; an existing bag there is replaced.
        recording: what to write.
        images_per_chunk: how much is lost at most by an interruption, and how large files get.
        advance: is told of images done, those of kept chunks too.

    Returns:
        The number of images of chunks that an earlier call left.

    Raises:
        InputError: the place cannot be written, or the recording's files are wrong.
    """
    path = path.resolve()  # a link stays, the bag that it names is replaced
    if path.exists() and not (path / "metadata.yaml").is_file():
        raise InputError(f"{path}: exists and is not a rosbag2; give another name")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.absolute().parent}; make it first")
    spans = plan_chunks(recording.image_stamps, images_per_chunk)
    work = path.with_name(f"{path.name}.part")
    with sole_user(work):
        _prepare(work, f"{recording.fingerprint} {spans!r} {__version__}")
        kept = _write_chunks(path, work, recording, spans, advance)
        shutil.rmtree(work)
    return kept


def _write_chunks(
    path: Path,
    work: Path,
    recording: Recording,
    spans: Sequence[Span],
    advance: Callable[[int], object],
) -> int:
    """Write the chunks that are not there yet, and join them; return how many images were."""
    kept = 0
    chunks = [work / f"chunk_{index:05d}" for index in range(len(spans))]
    for chunk, span in zip(chunks, spans, strict=True):
        if chunk.is_dir():
            kept += span.num_images
            advance(span.num_images)
            continue
        with BagWriter(chunk) as writer:
            for event in recording.events(span.begin, span.end):
                writer.write(event.topic, event.stamp, event.make(), event.latched)
                if event.counts:
                    advance(1)
    _join(chunks, path, work / "joined")
    return kept


def _prepare(work: Path, intent: str) -> None:
    """Open the folder of chunks; those of another recording or other options go."""
    fingerprint = hashlib.sha256(intent.encode()).hexdigest()
    stamp = work / "fingerprint"
    try:
        same = stamp.is_file() and stamp.read_text() == fingerprint
        for left in work.glob(".chunk_*" if same else "*"):
            if left.is_dir():
                shutil.rmtree(left)
        stamp.write_text(fingerprint)
    except OSError as error:
        raise InputError(f"{work}: cannot be written ({error.strerror})") from None


def _join(chunks: Sequence[Path], path: Path, joined: Path) -> None:
    """Make one bag of several files and put it into its place."""
    shutil.rmtree(joined, ignore_errors=True)
    joined.mkdir()
    parts = []
    for index, chunk in enumerate(chunks):
        name = f"{path.name}_{index}.mcap"
        part = yaml.safe_load((chunk / "metadata.yaml").read_text("utf-8"))[INFORMATION]
        part["files"][0]["path"] = name
        parts.append(part)
        source = chunk / part["relative_file_paths"][0]
        try:
            os.link(source, joined / name)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, joined / name)
    with (joined / "metadata.yaml").open("w", encoding="utf-8") as file:
        yaml.safe_dump({INFORMATION: _merged(parts)}, file, sort_keys=False)
    if path.exists():
        shutil.rmtree(path)
    os.replace(joined, path)


def _merged(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the metadata of all chunks together."""
    begin = min(part["starting_time"]["nanoseconds_since_epoch"] for part in parts)
    end = max(
        part["starting_time"]["nanoseconds_since_epoch"] + part["duration"]["nanoseconds"]
        for part in parts
    )
    topics: dict[str, dict[str, Any]] = {}
    for part in parts:
        for topic in part["topics_with_message_count"]:
            name = topic["topic_metadata"]["name"]
            known = topics.setdefault(name, {**topic, "message_count": 0})
            known["message_count"] += topic["message_count"]
    files = [part["files"][0] for part in parts]
    return {
        **parts[0],
        "relative_file_paths": [file["path"] for file in files],
        "duration": {"nanoseconds": end - begin},
        "starting_time": {"nanoseconds_since_epoch": begin},
        "message_count": sum(part["message_count"] for part in parts),
        "topics_with_message_count": list(topics.values()),
        "files": files,
    }
