"""A street that can be driven through and photographed: seeded, metric, with exact depth."""
