"""Ways to match a query with references: XFeat*, TopicFM, ALIKED with LightGlue."""
