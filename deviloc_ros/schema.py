"""What every configuration schema is made of: sections of typed, bounded, described keys.

A key is written with dots, `retrieval.num_references`, on the command line and as a ROS parameter,
and nested in YAML. Every key has a type, bounds, a default and a description.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from deviloc_ros.errors import InputError

MAX_YAML_BYTES = 1_000_000


class Section(BaseModel):
    """A group of keys; immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    RENAMED: ClassVar[Mapping[str, str]] = {}
    """Dotted keys that were renamed, to what they are called now; for errors."""


@dataclass(frozen=True)
class Key:
    """One key of a schema, flattened.

    Attributes:
        name: dotted name.
        type: bool, int, float or str.
        default: its default value.
        description: one line.
        choices: the allowed strings, or empty.
        minimum: least value and whether the bound itself is allowed, or None.
        maximum: largest value and whether the bound itself is allowed, or None.
    """

    name: str
    type: type
    default: Any
    description: str
    choices: tuple[str, ...] = ()
    minimum: tuple[float, bool] | None = None
    maximum: tuple[float, bool] | None = None


SectionType = TypeVar("SectionType", bound=Section)


def keys(schema: type[Section], prefix: str = "") -> Iterator[Key]:
    """Yield every key of a schema, in the order it was written."""
    for name, field in schema.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            yield from keys(annotation, f"{prefix}{name}.")
            continue
        choices: tuple[str, ...] = ()
        if typing.get_origin(annotation) is Literal:
            choices, annotation = typing.get_args(annotation), str
        assert isinstance(annotation, type | types.GenericAlias), annotation
        bounds: dict[str, tuple[float, bool]] = {}
        for constraint in field.metadata:
            for side, attribute, inclusive in (
                ("minimum", "ge", True),
                ("minimum", "gt", False),
                ("maximum", "le", True),
                ("maximum", "lt", False),
            ):
                if (value := getattr(constraint, attribute, None)) is not None:
                    bounds[side] = (value, inclusive)
        yield Key(
            f"{prefix}{name}",
            typing.cast(type, annotation),
            field.get_default(),
            field.description or "",
            choices,
            **bounds,
        )


def build(schema: type[SectionType], values: Mapping[str, Any], source: str) -> SectionType:
    """Validate nested or dotted values against a schema.

    Args:
        schema: the section class.
        values: key to value; keys may be dotted, values may be nested mappings.
        source: what to name in an error, such as a file.

    Raises:
        InputError: an unknown key or a value out of its bounds, named with what would be right.
    """
    nested: dict[str, Any] = {}
    for name, value in _flatten(values):
        *groups, leaf = name.split(".")
        level = nested
        for group in groups:
            level = level.setdefault(group, {})
            if not isinstance(level, dict):
                raise InputError(f"{source}: {name}: {group} has a value already and takes no keys")
        level[leaf] = value
    wrong = ""
    try:
        return schema.model_validate(nested)
    except ValidationError as error:
        wrong = _what_is_wrong(schema, error)
    # Not inside of the clause above. A ValidationError is invisible to Python's garbage collector:
    # as another error's context it would keep all frames alive for ever, and a node in them.
    raise InputError(f"{source}: {wrong}")


def _what_is_wrong(schema: type[Section], error: ValidationError) -> str:
    """Return the first thing that is wrong, with what would be right."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if name in schema.RENAMED:
        return f"{name} is called {schema.RENAMED[name]} now"
    if first["type"] == "extra_forbidden":
        known = ", ".join(key.name for key in keys(schema))
        return f"{name} is not a known key; known: {known}"
    if not name:  # what keys of several sections have to say to each other
        return str(first["msg"].removeprefix("Value error, "))
    return f"{name} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def load(
    schema: type[SectionType],
    path: Path | None = None,
    assignments: Iterable[str] = (),
    given: Mapping[str, Any] | None = None,
) -> SectionType:
    """Read a configuration: defaults, what is given, a YAML file, then `key=value` assignments.

    Args:
        schema: the section class.
        path: the file, or None.
        assignments: win over the file.
        given: dotted keys that another file has set; they are checked already.

    Raises:
        InputError: the file cannot be read, or any key or value in it is wrong.
    """
    values: dict[str, Any] = dict(given or {})
    if path is not None:
        values.update(_flatten(read_yaml(path)))
        build(schema, values, str(path))
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"--set {assignment}: expected key=value")
        try:
            values[name.strip()] = yaml.safe_load(text) if text else ""
        except (ValueError, RecursionError, yaml.YAMLError):
            raise InputError(f"--set {assignment}: {text!r} is not a value") from None
    return build(schema, values, "--set" if assignments else str(path or "configuration"))


def read_yaml(path: Path) -> dict[Any, Any]:
    """Read a YAML file of 'key: value' lines; an empty one has none.

    Raises:
        InputError: it cannot be read, is something else, or could become larger than it is.
    """
    try:
        if path.stat().st_size > MAX_YAML_BYTES:
            raise InputError(f"{path}: is larger than {MAX_YAML_BYTES} bytes")
        text = path.read_text(encoding="utf-8-sig")
        # A few aliases of aliases hold more than any memory; a configuration needs none.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise InputError(f"{path}: aliases (*name) are not taken; write the value out")
        content = yaml.safe_load(text)
    except InputError:
        raise
    # ValueError: a date that there is not; RecursionError: what holds itself, or is too deep.
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a readable YAML file: {reason}") from None
    if not isinstance(content, dict | None):
        raise InputError(f"{path}: must hold 'key: value' lines at its top")
    return content or {}


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
