"""DeViLoc as published: TopicFM-fast with PIN, for the official weights."""
