/**
 * Normalizes the texts of a row. A value that is unknown stays as it is, for
 * the rules to judge.
 */

import type { Field, Outcome, Value } from "forebay:plugin/types@0.1.0";

/** Spellings of English levels, each before the letters and digits of its aliases. */
const ENGLISH_LEVELS = spellings([
  ["no_english", "noenglish", "none", "no"],
  ["basic", "beginner", "elementary", "a1"],
  ["pre_intermediate", "preintermediate", "pre", "a2"],
  ["intermediate", "b1"],
  ["upper_intermediate", "upperintermediate", "upper", "b2"],
  ["advanced", "c1"],
  ["fluent", "proficient", "c2"],
  ["native", "mothertongue"],
]);

/** Spellings of keywords, each before its aliases. ASCII case is ignored. */
const KEYWORDS = spellings([
  ["Android"],
  ["C#", "c sharp", "csharp", "c-sharp"],
  ["C++", "cpp", "c plus plus"],
  ["Data Engineer", "data engineering"],
  ["Data Science", "data scientist", "datascience"],
  ["Design", "designer", "ui/ux"],
  ["DevOps", "dev ops", "dev-ops"],
  ["Fullstack", "full stack", "full-stack"],
  ["Go", "golang", "go lang"],
  ["Java"],
  ["JavaScript", "js", "java script", "ecmascript"],
  ["Kotlin"],
  ["Machine Learning", "ml", "machine-learning"],
  [".NET", "dotnet", "dot net"],
  ["Node.js", "node", "nodejs", "node js"],
  ["PHP"],
  ["Project Manager", "project management"],
  ["Python", "python3"],
  ["QA", "quality assurance", "tester"],
  ["React", "reactjs", "react.js"],
  ["Ruby", "ruby on rails", "ror"],
  ["Rust", "rustlang"],
  ["Scala"],
  ["SQL"],
  ["TypeScript", "ts", "type script"],
  ["iOS", "ios developer"],
]);

/** Left over from copying from web pages; not the joiners that some scripts need. */
const INVISIBLE = /[\u200b\u2060\ufeff]/g;
/** `\s` lacks U+0085, which Unicode counts as white space. */
const SPACES = /[\s\x85]+/g;
const UNTIDY = /^ | $|  |[^\S ]|[\x85\u200b\u2060\ufeff]/;
const TEST = /^[\s\x85\u200b\u2060\ufeff]*\[test\]/i;

const TIDY: Record<string, (text: string) => string> = {
  company_name: clean,
  english_level: englishLevel,
  primary_keyword: keyword,
};

/** The outcome for a row with these values of these columns. */
export function normalize(columns: string[], values: Value[]): Outcome {
  const set: Field[] = [];
  for (const [index, value] of values.entries()) {
    if (value.tag !== "text") continue;
    const name = columns[index] ?? "";
    if (name === "title" && TEST.test(value.val)) return { tag: "drop", val: "TEST_POSTING" };
    const tidy = TIDY[name]?.(value.val);
    if (tidy === undefined) continue;
    if (tidy === "") set.push({ name, value: { tag: "none" } });
    else if (tidy !== value.val) set.push({ name, value: { tag: "text", val: tidy } });
  }
  return set.length === 0 ? { tag: "unchanged" } : { tag: "set", val: set };
}

/** Trims, makes each run of white space one space, and removes invisible characters. */
function clean(text: string): string {
  return UNTIDY.test(text) ? text.replace(INVISIBLE, "").replace(SPACES, " ").trim() : text;
}

function englishLevel(text: string): string {
  const known = ENGLISH_LEVELS.get(text) ?? ENGLISH_LEVELS.get(lettersAndDigits(text));
  return known ?? (clean(text) === "" ? "" : text);
}

function keyword(text: string): string {
  const cleaned = clean(text);
  return KEYWORDS.get(cleaned) ?? KEYWORDS.get(asciiLowerCase(cleaned)) ?? cleaned;
}

function lettersAndDigits(text: string): string {
  return text.replace(/[^\p{Alphabetic}\p{N}]+/gu, "").toLowerCase();
}

function asciiLowerCase(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** Maps each spelling and its aliases, as they are and in lower case, to the spelling. */
function spellings(rows: [spelling: string, ...aliases: string[]][]): Map<string, string> {
  const all = new Map<string, string>();
  for (const row of rows) {
    for (const name of row) all.set(name, row[0]).set(name.toLowerCase(), row[0]);
  }
  return all;
}
