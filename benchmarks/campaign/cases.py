"""A case: the sound inputs, one of them damaged, and what a kind of input is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from campaign import mutations, sound
from campaign.supervised import MB, Action
from deviloc_ros.mapping.tiling import write_index

BASE_MEMORY = 250 * MB
"""What commands need for nothing: libraries that they touch, their pictures."""
MEMORY_PER_BYTE = 100
"""Of input: text becomes objects, compressed data grows."""
Files = dict[str, bytes]


@dataclass(frozen=True)
class Sound:
    """The sound inputs.

    Attributes:
        folder: where they lie.
        files: all of them by their path below it.
    """

    folder: Path
    files: Files

    @staticmethod
    def make(folder: Path) -> Sound:
        """Write them all, unless they are there, and read them."""
        if not (folder / "done").exists():
            sound.write_models(folder / "models")
            poses = sound.model_poses(folder / "models" / "bin")
            sound.write_map(folder / "place.devmap", poses)
            half = len(poses) // 2
            names = list(poses)
            for tile, part in (("a", names[:half]), ("b", names[half:])):
                sound.write_map(folder / f"{tile}.devmap", {n: poses[n] for n in part})
            tiles = [folder / "a.devmap", folder / "b.devmap"]
            write_index(folder / "tiles.devtiles", tiles)
            for storage in ("mcap", "sqlite3", "mcap-compressed", "sqlite3-compressed"):
                (folder / "bags").mkdir(exist_ok=True)
                sound.write_bag(folder / "bags" / storage, storage, sound.messages())
            (folder / "images").mkdir()
            for name, content in sound.image_files().items():
                (folder / "images" / name).write_bytes(content)
            (folder / "network.ckpt").write_bytes(sound.checkpoint())
            sound.write_texts(folder / "texts", poses)
            (folder / "done").touch()
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return Sound(folder, {str(path.relative_to(folder)): path.read_bytes() for path in paths})

    def below(self, prefix: str) -> Files:
        """Return the files of a folder, by their names in it."""
        return {
            name.removeprefix(f"{prefix}/"): content
            for name, content in self.files.items()
            if name.startswith(f"{prefix}/")
        }


@dataclass(frozen=True)
class Case:
    """One damaged input, about to be made.

    Attributes:
        folder: of the case; inputs go into it, results into its folder `out`.
        random: decides everything.
        inputs: the sound ones.
        intact: change nothing, to see that what is sound is taken.
    """

    folder: Path
    random: Random
    inputs: Sound
    intact: bool

    def write(self, files: Mapping[str, bytes]) -> int:
        """Write files below the folder; return their size."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return sum(map(len, files.values()))

    def damage(self, content: bytes, how: Callable[[bytes, Random, list[bytes]], bytes]) -> bytes:
        """Return the content changed, or a pickle that tells on whoever loads it."""
        if self.intact:
            return content
        if self.random.random() < 0.01:
            return mutations.bomb(self.folder / "out" / ".unpickled")
        others = [self.random.choice(list(self.inputs.files.values()))]
        return how(content, self.random, others)


@dataclass(frozen=True)
class Subject:
    """A kind of input.

    Attributes:
        name: for people.
        share: how many cases of it there are, against the others.
        prepare: writes a damaged input and says what to do with it.
        sound_code: exit code of what is intact.
    """

    name: str
    share: int
    prepare: Callable[[Case], Action]
    sound_code: int = 0


def allowance(size: int) -> int:
    """Return the memory that an input of so many bytes justifies."""
    return BASE_MEMORY + MEMORY_PER_BYTE * size
