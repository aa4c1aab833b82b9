"""The exceptions that mean "the user gave something that cannot be used"."""

from __future__ import annotations

MAX_CHARACTERS = 4000


class InputError(ValueError):
    """Bad input, told in one line that names the file, the field and what would be right.

    The command line prints the message and exits with code 2; the node reports it and refuses to
    configure. It never reaches a user as a traceback. What it quotes of a file may be anything: it
    is shortened, and characters that would steer a terminal are written out.
    """

    def __init__(self, message: str = "") -> None:
        """Take the line."""
        super().__init__(_printable(message))


class DamagedMapError(InputError):
    """A part of a map that is read only when it is needed cannot be read.

    A localizer that runs into it has no pose for the query, and goes on.
    """


class NothingFoundError(Exception):
    """The input is sound, but nothing could be mapped or localized; told in one line.

    The command line prints the message and exits with code 3.
    """


def _printable(message: str) -> str:
    """Return a message that is safe to print: no control characters, at most MAX_CHARACTERS."""
    if len(message) > MAX_CHARACTERS:
        half = MAX_CHARACTERS // 2
        message = f"{message[:half]} [...] {message[-half:]}"
    if message.isprintable():
        return message
    # Names of files that are not UTF-8 hold surrogates; line breaks are joined where it is told.
    return "".join(
        c if c.isprintable() or c.isspace() or "\ud800" <= c <= "\udfff" else ascii(c)[1:-1]
        for c in message
    )
