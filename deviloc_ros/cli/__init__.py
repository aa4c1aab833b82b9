"""The command line `deviloc`, one file a command."""
