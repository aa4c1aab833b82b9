"""TopicFM-fast: the published semi-dense matcher of DeViLoc (frozen, inference only)."""
