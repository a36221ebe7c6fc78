"""All three roles in one component.

Brings rows into one spelling, says why they must not be written, and sorts those that failed
into queues. `raise Err(message)` returns the `err` of a call.
"""

from wit_world import exports
from wit_world.exports.dead_letter_policy import Decision, Failure
from wit_world.exports.describe import Descriptor
from wit_world.imports.types import Batch, Outcome, Rejection

import normalize
import policy
import rules
import settings
from guard import as_err

# Set once on every instance, before its first batch.
current = settings.Settings()


class Describe(exports.Describe):
    def describe(self) -> Descriptor:
        # Only these columns cross into the sandbox.
        reads = ["company_name", "exp_years", "english_level", "primary_keyword", "title"]
        return Descriptor(name="row-rules-python", version="0.1.0", reads=reads)

    @as_err
    def configure(self, config: list[tuple[str, str]]) -> None:
        global current
        current = settings.parse(config)


class Transform(exports.Transform):
    @as_err
    def transform(self, batch: Batch) -> list[Outcome]:
        return [normalize.normalize(batch.columns, row.values) for row in batch.rows]


class Validate(exports.Validate):
    @as_err
    def validate(self, batch: Batch) -> list[list[Rejection]]:
        judge = rules.rules(current, batch.columns)
        return [judge(row.values) for row in batch.rows]


class DeadLetterPolicy(exports.DeadLetterPolicy):
    @as_err
    def decide(self, failures: list[Failure]) -> list[Decision]:
        return [policy.decide(current, failure) for failure in failures]
