"""The exceptions that mean "the user gave something that cannot be used"."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input, told in one line that names the file, the field and what would be right.

    The command line prints the message and exits with code 2; the node reports it and refuses to
    configure. It never reaches a user as a traceback.
    """


class DamagedMapError(InputError):
    """A part of a map that is read only when it is needed cannot be read.

    A localizer that runs into it has no pose for the query, and goes on.
    """


class NothingFoundError(Exception):
    """The input is sound, but nothing could be mapped or localized; told in one line.

    The command line prints the message and exits with code 3.
    """
