"""Sorts failed rows into queues for the people who can fix them."""

from wit_world.exports.dead_letter_policy import (
    Decision,
    Decision_DeadLetter,
    Decision_Drop,
    Decision_Halt,
    Decision_Retry,
    Failure,
)

from settings import Settings

RETRIES = 3
RETRY_AFTER_MS = 200
# Serialization failure, deadlock, lock not available: caused by other transactions.
RETRYABLE = {"SQL_40001", "SQL_40P01", "SQL_55P03"}

QUEUES = {
    "decode": "source",
    "transform": "review",
    "validate": "review",
    "write": "database",
}


def decide(settings: Settings, failure: Failure) -> Decision:
    code = failure.code
    if code in settings.halt_codes:
        return Decision_Halt(f"{code} at row `{failure.key}`: {failure.message}")
    if code in settings.drop_codes:
        return Decision_Drop()
    if code.startswith("PLUGIN_"):
        return Decision_DeadLetter("plugin")
    if failure.stage == "write" and code in RETRYABLE and failure.attempt <= RETRIES:
        return Decision_Retry(RETRY_AFTER_MS)
    return Decision_DeadLetter(QUEUES.get(failure.stage, "default"))
