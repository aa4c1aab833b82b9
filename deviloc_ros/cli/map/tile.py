"""`deviloc map tile`: one map of several files."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from deviloc_ros.cli.arguments import (
    Subparsers,
    add_command,
    add_config,
    check_output,
    load_config,
)
from deviloc_ros.errors import InputError

TILE = """\
Make one map of several map files that are in one frame, for places too large for memory: an index
of tiles, which is given to every command and to the node in place of a map. Only tiles near the
camera, or where retrieval finds it, are loaded (tiles.loaded, tiles.prefetch_distance). With --cut
maps are first cut into smaller ones. With --align maps that overlap, and are in one frame only
roughly, are first brought into the frame of the first one: images of each are localized in its
neighbours, and the size of each seam is told. The index names its tiles relative to itself: move
them together."""

TILE_EXAMPLES = """\
  deviloc map tile north.devmap south.devmap --output city.devtiles
  deviloc map tile monday.devmap tuesday.devmap --align --output city.devtiles
  deviloc map tile campus.devmap --cut 50 --output campus.devtiles   # tiles in campus.tiles/"""


def add_tile(actions: Subparsers) -> None:
    """Describe the command line."""
    parser = add_command(actions, "tile", "make one map of several", TILE, TILE_EXAMPLES)
    parser.add_argument("maps", type=Path, nargs="+", metavar="MAP", help="map files in one frame")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="INDEX", help="the index to write"
    )
    parser.add_argument(
        "--cut", type=float, metavar="M", help="cut maps into parts that are at most so long"
    )
    parser.add_argument(
        "--align",
        action="store_true",
        help="align overlapping maps first; aligned copies go beside the index",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the codebook (0)")
    add_config(parser)


def run_tile(args: argparse.Namespace) -> int:
    """Write the index, and with --cut the tiles."""
    check_output(args.output)
    if args.cut is not None and not 0 < args.cut < math.inf:
        raise InputError(f"--cut {args.cut:g}: must be above 0")
    if args.align and (args.cut is not None or len(args.maps) < 2):
        raise InputError("--align takes two maps or more, and does not go with --cut")
    if not 0 <= args.seed < 2**31:
        raise InputError(f"--seed {args.seed}: must be 0 or more")

    from deviloc_ros.config import TileConfig
    from deviloc_ros.mapping.cut import cut_map
    from deviloc_ros.mapping.tiling import tiles_folder, write_index
    from deviloc_ros.maps.map import Map
    from deviloc_ros.maps.open_map import load_tiled

    tiles = _aligned(args) if args.align else args.maps
    if args.cut is not None:
        folder = tiles_folder(args.output)
        wholes = [Map.load(path, resident=0) for path in args.maps]
        tiles = []
        for whole in wholes:
            for part in cut_map(whole, args.cut):
                tiles.append(folder / f"{len(tiles) + 1:03d}.devmap")
                part.save(tiles[-1])
    write_index(args.output, tiles, args.seed)
    index = load_tiled(args.output, TileConfig())
    print(f"{args.output}: {len(index.tiles)} tiles, {len(index.references)} references")
    return 0


def _aligned(args: argparse.Namespace) -> list[Path]:
    """Write the maps in the frame of the first one, and tell the seams; return the files."""
    from deviloc_ros.mapping.alike import check_alike
    from deviloc_ros.mapping.living.align_tiles import align_tiles, check_tied
    from deviloc_ros.mapping.tiling import tiles_folder
    from deviloc_ros.mapping.workspace import Workspace
    from deviloc_ros.maps.map import Map
    from deviloc_ros.maps.map_file import map_id

    maps = [Map.load(path, resident=0) for path in args.maps]
    for other in maps[1:]:
        check_alike(maps[0], other, True, "tiles must be made alike")
    config, names = load_config(args), [path.name for path in args.maps]
    inputs = ("align", [map_id(path) for path in args.maps], config)
    with Workspace(args.output, args.maps[0].parent, inputs) as workspace:
        aligned = align_tiles(maps, config, workspace.folder)
        check_tied(aligned, names)
        folder = tiles_folder(args.output)
        written = []
        for number, part in enumerate(aligned.maps, start=1):
            written.append(folder / f"{number:03d}.devmap")
            part.save(written[-1])
        workspace.remove()
    unit = "m" if maps[0].metric else "units"
    for seam in aligned.seams:
        print(
            f"{names[seam.first]} - {names[seam.second]}: {seam.num_images} images, seam "
            f"{seam.before[0]:.4f} -> {seam.after[0]:.4f} {unit}, {seam.before[1]:.3f} -> "
            f"{seam.after[1]:.3f} deg"
        )
    for number in aligned.loose:
        print(f"{names[number]}: overlaps with nothing that is tied to {names[0]}; not moved")
    return written
