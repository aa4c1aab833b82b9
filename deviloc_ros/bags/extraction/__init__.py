"""Images out of a bag for a map: which ones, their cameras, and where they were taken."""
