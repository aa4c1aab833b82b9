"""The names of the benchmarks; apart, so that the command's help loads nothing else."""

NAMES = (
    "aachen",
    "aachen-v1.1",
    "robotcar",
    "robotcar-v2",
    "robotcar-public",
    "cmu",
    "cmu-public",
    "7scenes",
    "cambridge",
    "kapture",
    "colmap",
)
