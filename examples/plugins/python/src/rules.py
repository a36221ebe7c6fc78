"""Rejects rows that must not be written, with all their faults at once."""

from collections.abc import Callable

from wit_world.imports.types import (
    Rejection,
    Value,
    Value_Integer,
    Value_None_,
    Value_Text,
)

from settings import Settings

COMPANY_NAME_CHARS = 200

# A code, and the fault of the field.
Fault = tuple[str, str]

MISSING: Fault = ("FIELD_REQUIRED", "must be given")
NULL = Value_None_()


def rules(settings: Settings, columns: list[str]) -> Callable[[list[Value]], list[Rejection]]:
    """Returns a function that finds the faults of a row. A missing column is null."""
    # Columns are looked up once per batch.
    checks = [
        (columns.index(name) if name in columns else None, name, check)
        for name, check in CHECKS.items()
    ]

    def judge(values: list[Value]) -> list[Rejection]:
        rejections = []
        for column, name, check in checks:
            fault = check(NULL if column is None else values[column], settings)
            if fault:
                rejections.append(Rejection(fault[0], f"{name} {fault[1]}", name))
        return rejections

    return judge


def company_name(value: Value, _settings: Settings) -> Fault | None:
    if not isinstance(value, Value_Text) or not value.value:
        return MISSING
    length = len(value.value)
    if length <= COMPANY_NAME_CHARS:
        return None
    return "FIELD_LENGTH", f"has {length} characters, of {COMPANY_NAME_CHARS} at most"


def exp_years(value: Value, settings: Settings) -> Fault | None:
    if not isinstance(value, Value_Integer):
        return MISSING
    years, least, most = value.value, settings.min_years, settings.max_years
    if least <= years <= most:
        return None
    return "FIELD_RANGE", f"is {years}; it must be {least} to {most}"


def english_level(value: Value, settings: Settings) -> Fault | None:
    if not isinstance(value, Value_Text) or value.value in settings.english_levels:
        return None
    known = ", ".join(settings.english_levels)
    return "FIELD_VALUE", f"is `{value.value}`; it must be one of {known}"


def keyword(value: Value, settings: Settings) -> Fault | None:
    given = isinstance(value, Value_Text) and value.value != ""
    return None if given or not settings.require_keyword else MISSING


CHECKS = {
    "company_name": company_name,
    "exp_years": exp_years,
    "english_level": english_level,
    "primary_keyword": keyword,
}
