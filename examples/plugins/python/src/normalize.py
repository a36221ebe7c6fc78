"""Normalizes the texts of a row.

A value that is unknown stays as it is, for the rules to judge.
"""

import re

from wit_world.imports.types import (
    Field,
    Outcome,
    Outcome_Drop,
    Outcome_Set,
    Outcome_Unchanged,
    Value,
    Value_None_,
    Value_Text,
)


def spellings(*rows: tuple[str, ...]) -> dict[str, str]:
    """Maps each spelling and its aliases, as they are and in lower case, to the spelling."""
    return {name: row[0] for row in rows for alias in row for name in (alias, alias.lower())}


# Spellings of English levels, each before the letters and digits of its aliases.
ENGLISH_LEVELS = spellings(
    ("no_english", "noenglish", "none", "no"),
    ("basic", "beginner", "elementary", "a1"),
    ("pre_intermediate", "preintermediate", "pre", "a2"),
    ("intermediate", "b1"),
    ("upper_intermediate", "upperintermediate", "upper", "b2"),
    ("advanced", "c1"),
    ("fluent", "proficient", "c2"),
    ("native", "mothertongue"),
)

# Spellings of keywords, each before its aliases. ASCII case is ignored.
KEYWORDS = spellings(
    ("Android",),
    ("C#", "c sharp", "csharp", "c-sharp"),
    ("C++", "cpp", "c plus plus"),
    ("Data Engineer", "data engineering"),
    ("Data Science", "data scientist", "datascience"),
    ("Design", "designer", "ui/ux"),
    ("DevOps", "dev ops", "dev-ops"),
    ("Fullstack", "full stack", "full-stack"),
    ("Go", "golang", "go lang"),
    ("Java",),
    ("JavaScript", "js", "java script", "ecmascript"),
    ("Kotlin",),
    ("Machine Learning", "ml", "machine-learning"),
    (".NET", "dotnet", "dot net"),
    ("Node.js", "node", "nodejs", "node js"),
    ("PHP",),
    ("Project Manager", "project management"),
    ("Python", "python3"),
    ("QA", "quality assurance", "tester"),
    ("React", "reactjs", "react.js"),
    ("Ruby", "ruby on rails", "ror"),
    ("Rust", "rustlang"),
    ("Scala",),
    ("SQL",),
    ("TypeScript", "ts", "type script"),
    ("iOS", "ios developer"),
)

# As defined by Unicode; `\s` also has the ASCII separators.
SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# Left over from copying from web pages; not the joiners that some scripts need.
INVISIBLE = r"\u200b\u2060\ufeff"

SPACES = re.compile(f"[{SPACE}]+")
INVISIBLES = re.compile(f"[{INVISIBLE}]")
UNTIDY = re.compile(rf"^ | $|  |[^\S ]|[\x85{INVISIBLE}]")
TEST = re.compile(rf"[{SPACE}{INVISIBLE}]*\[test\]", re.ASCII | re.IGNORECASE)


def normalize(columns: list[str], values: list[Value]) -> Outcome:
    """The outcome for a row with these values of these columns."""
    fields: list[Field] = []
    for name, value in zip(columns, values):
        if not isinstance(value, Value_Text):
            continue
        text = value.value
        if name == "title" and TEST.match(text):
            return Outcome_Drop("TEST_POSTING")
        if name not in TIDY:
            continue
        tidy = TIDY[name](text)
        if tidy == "":
            fields.append(Field(name, Value_None_()))
        elif tidy != text:
            fields.append(Field(name, Value_Text(tidy)))
    return Outcome_Set(fields) if fields else Outcome_Unchanged()


def clean(text: str) -> str:
    """Trims, makes each run of white space one space, and removes invisible characters."""
    if not UNTIDY.search(text):
        return text
    return SPACES.sub(" ", INVISIBLES.sub("", text)).strip(" ")


def english_level(text: str) -> str:
    known = ENGLISH_LEVELS.get(text) or ENGLISH_LEVELS.get(letters_and_digits(text))
    return known or (text if clean(text) else "")


def keyword(text: str) -> str:
    cleaned = clean(text)
    known = KEYWORDS.get(cleaned)
    if known is None and cleaned.isascii():
        known = KEYWORDS.get(cleaned.lower())
    return known or cleaned


def letters_and_digits(text: str) -> str:
    return "".join(filter(str.isalnum, text)).lower()


TIDY = {
    "company_name": clean,
    "english_level": english_level,
    "primary_keyword": keyword,
}
