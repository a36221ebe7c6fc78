"""Sorts failed rows into a queue for each stage.

`raise Err(message)` returns the `err` of a call.
"""

import re

from componentize_py_types import Err
from guard import as_err
from wit_world import exports
from wit_world.exports.dead_letter_policy import (
    Decision,
    Decision_DeadLetter,
    Decision_Retry,
    Failure,
)
from wit_world.exports.describe import Descriptor

RETRY_AFTER_MS = 200
# Serialization failure, deadlock, lock not available: caused by other transactions.
RETRYABLE = {"SQL_40001", "SQL_40P01", "SQL_55P03"}

# Set once on every instance, before its first batch.
retries = 3


class Describe(exports.Describe):
    def describe(self) -> Descriptor:
        # The codes are enough. Columns named in `reads` are in the fields of the failures.
        return Descriptor(name="{{name}}", version="0.1.0", reads=[])

    @as_err
    def configure(self, config: list[tuple[str, str]]) -> None:
        global retries
        for name, text in config:
            if name != "retries":
                raise Err(f"unknown setting `{name}`; there is retries")
            if not re.fullmatch("[0-9]{1,9}", text):
                raise Err(f"retries is `{text}`; it must be a whole number")
            retries = int(text)


class DeadLetterPolicy(exports.DeadLetterPolicy):
    @as_err
    def decide(self, failures: list[Failure]) -> list[Decision]:
        return [decision(failure) for failure in failures]


def decision(failure: Failure) -> Decision:
    if failure.code in RETRYABLE and failure.attempt <= retries:
        return Decision_Retry(RETRY_AFTER_MS)
    return Decision_DeadLetter(failure.stage)
