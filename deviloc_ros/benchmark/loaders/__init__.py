"""One file a benchmark: what its folder holds, behind one interface (`../types.py`)."""
