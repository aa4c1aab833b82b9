"""Building, storing, aligning and inspecting maps."""
