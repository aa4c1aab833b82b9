"""The kinds of input that are damaged, each with its share of the cases."""

from __future__ import annotations

from campaign.cases import Subject
from campaign.damaged_bags import bag_file, bag_messages, camera_messages
from campaign.damaged_files import (
    damaged_checkpoint,
    damaged_image,
    damaged_pose,
    damaged_text,
    damaged_yaml,
)
from campaign.damaged_maps import damaged_map, damaged_model, map_bytes, map_content

SUBJECTS = (
    Subject("map, bytes", 10, lambda case: damaged_map(case, map_bytes)),
    Subject("map, content", 12, lambda case: damaged_map(case, map_content)),
    Subject("COLMAP, binary", 12, lambda case: damaged_model(case, "bin")),
    Subject("COLMAP, text", 12, lambda case: damaged_model(case, "txt")),
    Subject("bag, bytes", 12, bag_file),
    Subject("bag, messages", 12, bag_messages),
    Subject("CameraInfo and Image", 8, camera_messages),
    Subject("image file", 8, damaged_image),
    Subject("checkpoint", 6, damaged_checkpoint, sound_code=2),
    Subject("poses, positions, cameras, statistics", 10, damaged_text),
    Subject("YAML and rig file", 10, damaged_yaml),
    Subject("saved pose", 4, damaged_pose),
)
