"""Programs around the node: player, recorder, display, replay."""
