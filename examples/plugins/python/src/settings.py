"""Settings of the pipeline. An invalid one is refused with a message that says what is valid."""

import re
from dataclasses import dataclass, field

from componentize_py_types import Err

LEVELS = (
    "no_english, basic, pre_intermediate, intermediate, "
    "upper_intermediate, advanced, fluent, native"
)


def items(text: str) -> list[str]:
    """The items of a comma-separated list."""
    return [item for item in map(str.strip, text.split(",")) if item]


@dataclass
class Settings:
    min_years: int = 0
    max_years: int = 60
    english_levels: list[str] = field(default_factory=lambda: items(LEVELS))
    require_keyword: bool = True
    drop_codes: list[str] = field(default_factory=list)
    halt_codes: list[str] = field(default_factory=list)


def parse(config: list[tuple[str, str]]) -> Settings:
    settings = Settings()
    for key, value in config:
        match key:
            case "min_years" | "max_years":
                setattr(settings, key, integer(key, value))
            case "english_levels":
                settings.english_levels = items(value)
            case "require_keyword":
                settings.require_keyword = flag(key, value)
            case "drop_codes" | "halt_codes":
                setattr(settings, key, codes(key, value))
            case _:
                known = ", ".join(vars(settings))
                raise Err(f"unknown setting `{key}`; there are {known}")
    check(settings)
    return settings


def check(settings: Settings) -> None:
    least, most = settings.min_years, settings.max_years
    if least > most:
        raise Err(f"min_years is {least}; it must be at most max_years, which is {most}")
    if not settings.english_levels:
        raise Err("english_levels is empty; it must be a list such as `basic, fluent`")
    for code in settings.drop_codes:
        if code in settings.halt_codes:
            raise Err(f"halt_codes and drop_codes both have {code}; it must be in one")


def integer(key: str, value: str) -> int:
    # `int` would allow spaces, underscores and other digits.
    if re.fullmatch(r"[+-]?[0-9]+", value) and -(2**63) <= int(value) < 2**63:
        return int(value)
    raise Err(f"{key} is `{value}`; it must be a whole number")


def flag(key: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise Err(f"{key} is `{value}`; it must be `true` or `false`")
    return value == "true"


def codes(key: str, value: str) -> list[str]:
    found = items(value)
    for code in found:
        if not re.fullmatch(r"[A-Z0-9_]+", code):
            example = "`FIELD_RANGE, SQL_23514`"
            raise Err(f"{key} has `{code}`; it must be a list of codes such as {example}")
    return found
