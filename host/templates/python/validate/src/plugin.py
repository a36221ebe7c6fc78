"""Rejects rows that lack a required column.

`raise Err(message)` returns the `err` of a call.
"""

from componentize_py_types import Err
from guard import as_err
from wit_world import exports
from wit_world.exports.describe import Descriptor
from wit_world.imports.types import Batch, Rejection, Value, Value_None_, Value_Text

# Set once on every instance, before its first batch.
required: list[str] = []


class Describe(exports.Describe):
    def describe(self) -> Descriptor:
        # Fewer columns are faster: name them with `reads=["title"]`.
        return Descriptor(name="{{name}}", version="0.1.0", reads=None)

    @as_err
    def configure(self, config: list[tuple[str, str]]) -> None:
        global required
        for name, text in config:
            if name != "required":
                raise Err(f"unknown setting `{name}`; there is required")
            required = [item for item in map(str.strip, text.split(",")) if item]


class Validate(exports.Validate):
    @as_err
    def validate(self, batch: Batch) -> list[list[Rejection]]:
        return [rejections(batch.columns, row.values) for row in batch.rows]


def rejections(columns: list[str], values: list[Value]) -> list[Rejection]:
    given = dict(zip(columns, values))
    missing = [name for name in required if is_missing(given.get(name, Value_None_()))]
    return [Rejection("FIELD_REQUIRED", f"{name} must be given", name) for name in missing]


def is_missing(value: Value) -> bool:
    return isinstance(value, Value_None_) or (isinstance(value, Value_Text) and not value.value)
