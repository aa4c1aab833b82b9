"""Whether a pose is believed: limits, the probability of chance, other places that fit."""
