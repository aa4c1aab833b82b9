"""Damaged bags, and messages that no camera should send."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from campaign import mutations, sound
from campaign.cases import BASE_MEMORY, Case, allowance
from campaign.supervised import MB, Action
from deviloc_ros.bags.reader import Bag
from deviloc_ros.bags.types import TYPESTORE
from deviloc_ros.errors import InputError
from deviloc_ros.images import read_gray
from deviloc_ros.messages.camera_info import camera_from_info, rectified_from_camera
from deviloc_ros.messages.image import pixels_from_message
from deviloc_ros.messages.rectification import rectification


def bag_file(case: Case) -> Action:
    storage = case.random.choice(("mcap", "sqlite3", "mcap-compressed", "sqlite3-compressed"))
    files = case.inputs.below(f"bags/{storage}")
    name = case.random.choice(list(files))
    how = mutations.mutate_text if name.endswith(".yaml") else mutations.mutate_bytes
    files[name] = case.damage(files[name], how)
    return _bag(case, case.write({f"bag/{name}": content for name, content in files.items()}))


def bag_messages(case: Case) -> Action:
    """Write a sound bag of messages that are not."""
    storage = case.random.choice(("mcap", "sqlite3"))
    sent: list[tuple[str, int, Any]] = list(sound.messages())
    if not case.intact:
        for _ in range(case.random.choice((1, 2, 8))):
            index = case.random.randrange(len(sent))
            sent[index] = _changed(case, *sent[index])
        kind = case.random.randrange(10)
        if kind == 0:
            case.random.shuffle(sent)
        elif kind == 1:
            del sent[case.random.randrange(len(sent))]
        elif kind == 2:
            sent += [sent[case.random.randrange(len(sent))]] * 20
    sent = [item for item in sent if item[2] is not None]
    sound.write_bag(case.folder / "bag", storage, sent)
    return _bag(case, sum(path.stat().st_size for path in (case.folder / "bag").iterdir()))


def _changed(case: Case, topic: str, stamp: int, message: Any) -> tuple[str, int, Any]:
    random = case.random
    if message is None or isinstance(message, tuple):  # changed before
        return topic, stamp, message
    kind = message.__msgtype__
    if random.random() < 0.1:
        stamp = random.choice((0, stamp + 10**12, 2**62))
    if random.random() < 0.6:
        mutations.mutate_message(message, random)
    try:
        data = bytes(TYPESTORE.serialize_cdr(message, kind))
    except Exception:  # a value that no program could have sent
        return topic, stamp, None
    if random.random() < 0.4:
        data = mutations.mutate_bytes(data, random)
    return topic, stamp, (kind, data)


def _bag(case: Case, size: int) -> Action:
    topic = case.random.choice(("/camera/image", "/camera/image/compressed"))
    folder = case.folder / "bag"
    runs: list[list[str] | Callable[[], object]] = [
        ["extract", "bag", "--topic", topic, "--output", "out/place"],
        ["extract", "bag", "--topic", topic, "--output", "out/place", "--distance", "0"],
        ["play", "bag", "--sources", "--image", topic],
        lambda: _read_everything(folder),
    ]
    images = {"place/images": _read_images}
    # Images may claim sizes, up to what their format can hold of so many bytes.
    return Action(case.random.choice(runs), allowance(size) + 400 * MB, images)


def _read_everything(folder: Path) -> None:
    with Bag(folder) as bag:
        refused: list[InputError] = []
        for _ in bag.read(list(bag.topics), lambda _, error: refused.append(error)):
            pass
        if refused:
            raise refused[0]


def _read_images(folder: Path) -> None:
    for path in folder.iterdir():
        read_gray(path)


def camera_messages(case: Case) -> Action:
    """Let what reads CameraInfo and images see fields that are wrong."""
    sent = {topic: message for topic, _, message in sound.messages()}
    info = sent["/camera/camera_info"]
    image = sent[case.random.choice(("/camera/image", "/camera/image/compressed"))]
    if not case.intact:
        for message in case.random.choice(([info], [image], [info, image])):
            mutations.mutate_message(message, case.random)

    def run() -> None:
        pixels = pixels_from_message(image)
        decided = rectification("auto", case.random.choice(("/image", "/image_rect")), info)
        camera = camera_from_info(info, (pixels.shape[1], pixels.shape[0]), decided.rectified)
        rectified_from_camera(info)
        str(camera)

    return Action(run, BASE_MEMORY)
