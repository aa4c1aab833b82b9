"""`deviloc demo`: the main job, whole, on data it makes itself."""
