"""Trims the white space around texts.

`raise Err(message)` returns the `err` of a call.
"""

from componentize_py_types import Err
from guard import as_err
from wit_world import exports
from wit_world.exports.describe import Descriptor
from wit_world.imports.types import (
    Batch,
    Field,
    Outcome,
    Outcome_Set,
    Outcome_Unchanged,
    Value,
    Value_None_,
    Value_Text,
)


class Describe(exports.Describe):
    def describe(self) -> Descriptor:
        # Fewer columns are faster: name them with `reads=["title"]`.
        return Descriptor(name="{{name}}", version="0.1.0", reads=None)

    @as_err
    def configure(self, config: list[tuple[str, str]]) -> None:
        for name, _ in config:
            raise Err(f"unknown setting `{name}`: this plugin has none")


class Transform(exports.Transform):
    @as_err
    def transform(self, batch: Batch) -> list[Outcome]:
        return [outcome(batch.columns, row.values) for row in batch.rows]


def outcome(columns: list[str], values: list[Value]) -> Outcome:
    changes = []
    for name, value in zip(columns, values):
        if not isinstance(value, Value_Text):
            continue
        text = value.value.strip()
        if not text:
            changes.append(Field(name, Value_None_()))
        elif text != value.value:
            changes.append(Field(name, Value_Text(text)))
    return Outcome_Set(changes) if changes else Outcome_Unchanged()
