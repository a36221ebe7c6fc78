/** Rejects rows that must not be written, with all their faults at once. */

import type { Rejection, Value, ValueInteger } from "forebay:plugin/types@0.1.0";
import type { Settings } from "./settings";

const COMPANY_NAME_CHARS = 200;

/** A code, and the fault of the field. */
type Fault = [code: string, detail: string];
type Check = [
  column: number,
  field: string,
  check: (value: Value, settings: Settings) => Fault | undefined,
];

const MISSING: Fault = ["FIELD_REQUIRED", "must be given"];
const NULL: Value = { tag: "none" };

/** Returns a function that finds the faults of a row. A missing column is null. */
export function rules(settings: Settings, columns: string[]): (values: Value[]) => Rejection[] {
  // Columns are looked up once per batch.
  const checks: Check[] = [
    [columns.indexOf("company_name"), "company_name", companyName],
    [columns.indexOf("exp_years"), "exp_years", expYears],
    [columns.indexOf("english_level"), "english_level", englishLevel],
    [columns.indexOf("primary_keyword"), "primary_keyword", keyword],
  ];
  return (values) => {
    const rejections: Rejection[] = [];
    for (const [column, field, check] of checks) {
      const fault = check(values[column] ?? NULL, settings);
      if (fault) rejections.push({ code: fault[0], message: `${field} ${fault[1]}`, field });
    }
    return rejections;
  };
}

function companyName(value: Value): Fault | undefined {
  if (value.tag !== "text" || value.val === "") return MISSING;
  // UTF-16 units are never fewer than characters.
  if (value.val.length <= COMPANY_NAME_CHARS) return undefined;
  const length = [...value.val].length;
  if (length <= COMPANY_NAME_CHARS) return undefined;
  return ["FIELD_LENGTH", `has ${length} characters, of ${COMPANY_NAME_CHARS} at most`];
}

/** An integer, unless it is one that a number cannot hold: reading that throws. */
function exact(value: ValueInteger): bigint | undefined {
  try {
    return BigInt(value.val);
  } catch {
    return undefined;
  }
}

function expYears(value: Value, { minYears, maxYears }: Settings): Fault | undefined {
  if (value.tag !== "integer") return MISSING;
  const years = exact(value);
  if (years !== undefined && minYears <= years && years <= maxYears) return undefined;
  const found = years ?? "beyond ±(2^53 - 1)";
  return ["FIELD_RANGE", `is ${found}; it must be ${minYears} to ${maxYears}`];
}

function englishLevel(value: Value, { englishLevels }: Settings): Fault | undefined {
  if (value.tag !== "text" || englishLevels.includes(value.val)) return undefined;
  return ["FIELD_VALUE", `is \`${value.val}\`; it must be one of ${englishLevels.join(", ")}`];
}

function keyword(value: Value, { requireKeyword }: Settings): Fault | undefined {
  const given = value.tag === "text" && value.val !== "";
  return given || !requireKeyword ? undefined : MISSING;
}
