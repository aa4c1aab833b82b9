"""Maps that change: extended, merged, thinned."""
