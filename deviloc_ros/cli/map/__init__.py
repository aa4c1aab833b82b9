"""`deviloc map`: a module for each of its actions."""

from deviloc_ros.cli.map.command import add_parser, run

__all__ = ["add_parser", "run"]
