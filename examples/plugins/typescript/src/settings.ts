/** Settings of the pipeline. An invalid one is refused with a message that says what is valid. */

export interface Settings {
  minYears: bigint;
  maxYears: bigint;
  englishLevels: string[];
  requireKeyword: boolean;
  dropCodes: string[];
  haltCodes: string[];
}

const KNOWN = "min_years, max_years, english_levels, require_keyword, drop_codes, halt_codes";

export function parse(config: [string, string][]): Settings {
  const settings: Settings = {
    minYears: 0n,
    maxYears: 60n,
    englishLevels: list(
      "no_english, basic, pre_intermediate, intermediate, upper_intermediate, advanced, fluent, native",
    ),
    requireKeyword: true,
    dropCodes: [],
    haltCodes: [],
  };
  for (const [key, value] of config) {
    if (key === "min_years") settings.minYears = integer(key, value);
    else if (key === "max_years") settings.maxYears = integer(key, value);
    else if (key === "english_levels") settings.englishLevels = list(value);
    else if (key === "require_keyword") settings.requireKeyword = flag(key, value);
    else if (key === "drop_codes") settings.dropCodes = codes(key, value);
    else if (key === "halt_codes") settings.haltCodes = codes(key, value);
    else throw `unknown setting \`${key}\`; there are ${KNOWN}`;
  }
  check(settings);
  return settings;
}

function check({ minYears, maxYears, englishLevels, dropCodes, haltCodes }: Settings) {
  if (minYears > maxYears) {
    throw `min_years is ${minYears}; it must be at most max_years, which is ${maxYears}`;
  }
  if (englishLevels.length === 0) {
    throw "english_levels is empty; it must be a list such as `basic, fluent`";
  }
  const both = dropCodes.find((code) => haltCodes.includes(code));
  if (both !== undefined) throw `halt_codes and drop_codes both have ${both}; it must be in one`;
}

function integer(key: string, value: string): bigint {
  const number = /^[+-]?\d+$/.test(value) ? BigInt(value.replace("+", "")) : undefined;
  if (number === undefined || number !== BigInt.asIntN(64, number)) {
    throw `${key} is \`${value}\`; it must be a whole number`;
  }
  return number;
}

function flag(key: string, value: string): boolean {
  if (value !== "true" && value !== "false") {
    throw `${key} is \`${value}\`; it must be \`true\` or \`false\``;
  }
  return value === "true";
}

function codes(key: string, value: string): string[] {
  const found = list(value);
  const wrong = found.find((code) => !/^[A-Z0-9_]+$/.test(code));
  if (wrong !== undefined) {
    throw `${key} has \`${wrong}\`; it must be a list of codes such as \`FIELD_RANGE, SQL_23514\``;
  }
  return found;
}

function list(text: string): string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}
