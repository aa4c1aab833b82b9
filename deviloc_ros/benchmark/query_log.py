"""What came of every query, a line each, written as it comes: a run that was cut off goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from deviloc_ros.atomic import atomic_path
from deviloc_ros.errors import InputError

KEY = "inputs"


class QueryLog:
    """A file of records by query name, all made from the same inputs."""

    def __init__(self, path: Path, inputs: str) -> None:
        """Open a log, or begin it anew if it was made from other inputs or is damaged.

        Args:
            path: the file.
            inputs: a text that changes with anything that a record depends on.

        Raises:
            InputError: the file cannot be read or written.
        """
        self.path = path
        self.records: dict[str, dict[str, Any]] = {}
        self._file: IO[str] | None = None
        good = self._read(inputs)
        if good:
            os.truncate(path, good)
        else:
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps({KEY: inputs}) + "\n", encoding="utf-8")

    def __enter__(self) -> QueryLog:
        """Open the file for more records."""
        self._file = self.path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, record: Mapping[str, Any]) -> None:
        """Write a record; it is on its way to the disk when this returns."""
        if self._file is None:
            raise RuntimeError("the log is not open")
        self._file.write(json.dumps(record, allow_nan=False) + "\n")
        self._file.flush()
        self.records[record["name"]] = dict(record)

    def _read(self, inputs: str) -> int:
        """Read what is there; return how many bytes of it are whole records of these inputs."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror})") from None
        good = 0
        for number, line in enumerate(content.splitlines(keepends=True)):
            try:
                record = json.loads(line)
                if number == 0 and record[KEY] != inputs:
                    return 0
                if number:
                    self.records[str(record["name"])] = record
            except (ValueError, KeyError, TypeError, RecursionError):
                break
            if not line.endswith(b"\n"):
                break  # cut off between the record and its line end
            good += len(line)
        return good
