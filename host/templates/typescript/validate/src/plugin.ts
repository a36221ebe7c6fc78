/**
 * Rejects rows that lack a required column.
 *
 * What is thrown becomes the `err` of the call. `console` writes to the host's log.
 */

import type * as Describe from "forebay:plugin/describe@0.1.0";
import type { Rejection, Value } from "forebay:plugin/types@0.1.0";
import type * as Validate from "forebay:plugin/validate@0.1.0";

/** Set once on every instance, before its first batch. */
let required: string[] = [];

export const describe: typeof Describe = {
  // Fewer columns are faster: name them with `reads: ["title"]`.
  describe: () => ({ name: "{{name}}", version: "0.1.0" }),
  configure(config) {
    for (const [name, text] of config) {
      if (name !== "required") throw `unknown setting \`${name}\`; there is required`;
      required = text.split(",").map((item) => item.trim()).filter((item) => item !== "");
    }
  },
};

export const validate: typeof Validate = {
  validate: ({ columns, rows }) => {
    // The columns are the same for all rows of a batch.
    const places = required.map((name) => ({ name, column: columns.indexOf(name) }));
    return rows.map(({ values }) =>
      places.filter(({ column }) => isMissing(values[column])).map(({ name }) => missing(name)),
    );
  },
};

function isMissing(value: Value | undefined): boolean {
  return value === undefined || value.tag === "none" || (value.tag === "text" && value.val === "");
}

function missing(field: string): Rejection {
  return { code: "FIELD_REQUIRED", message: `${field} must be given`, field };
}
