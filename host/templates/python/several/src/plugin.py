"""Begins with these roles: {{roles}}. They change nothing yet.

`raise Err(message)` returns the `err` of a call.
"""

from componentize_py_types import Err
from guard import as_err
from wit_world import exports
{{#policy}}
from wit_world.exports.dead_letter_policy import Decision, Decision_DeadLetter, Failure
{{/policy}}
from wit_world.exports.describe import Descriptor
{{#transform}}
from wit_world.imports.types import Batch, Outcome, Outcome_Unchanged
{{/transform}}
{{#validate}}
from wit_world.imports.types import Batch, Rejection
{{/validate}}


class Describe(exports.Describe):
    def describe(self) -> Descriptor:
        # Fewer columns are faster: name them with `reads=["title"]`.
        return Descriptor(name="{{name}}", version="0.1.0", reads=None)

    @as_err
    def configure(self, config: list[tuple[str, str]]) -> None:
        for name, _ in config:
            raise Err(f"unknown setting `{name}`: this plugin has none")
{{#transform}}


class Transform(exports.Transform):
    @as_err
    def transform(self, batch: Batch) -> list[Outcome]:
        return [Outcome_Unchanged() for _ in batch.rows]
{{/transform}}
{{#validate}}


class Validate(exports.Validate):
    @as_err
    def validate(self, batch: Batch) -> list[list[Rejection]]:
        return [[] for _ in batch.rows]
{{/validate}}
{{#policy}}


class DeadLetterPolicy(exports.DeadLetterPolicy):
    @as_err
    def decide(self, failures: list[Failure]) -> list[Decision]:
        return [Decision_DeadLetter(failure.stage) for failure in failures]
{{/policy}}
