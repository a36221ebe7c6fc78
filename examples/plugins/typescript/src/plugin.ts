/**
 * All three roles in one component: normalizes rows, rejects those that must not be written,
 * and sorts failed rows into queues.
 *
 * What is thrown becomes the `err` of the call. `console` writes to the host's log.
 */

import type * as Describe from "forebay:plugin/describe@0.1.0";
import type * as Policy from "forebay:plugin/dead-letter-policy@0.1.0";
import type * as Transform from "forebay:plugin/transform@0.1.0";
import type * as Validate from "forebay:plugin/validate@0.1.0";
import { normalize } from "./normalize";
import { decide } from "./policy";
import { rules } from "./rules";
import { parse } from "./settings";

/** Set once on every instance, before its first batch. */
let settings = parse([]);

export const describe: typeof Describe = {
  describe: () => ({
    name: "row-rules-typescript",
    version: "0.1.0",
    // Only these columns cross into the sandbox.
    reads: ["company_name", "exp_years", "english_level", "primary_keyword", "title"],
  }),
  configure(config) {
    settings = parse(config);
  },
};

export const transform: typeof Transform = {
  transform: ({ columns, rows }) => rows.map((row) => normalize(columns, row.values)),
};

export const validate: typeof Validate = {
  validate: ({ columns, rows }) => {
    const judge = rules(settings, columns);
    return rows.map((row) => judge(row.values));
  },
};

export const deadLetterPolicy: typeof Policy = {
  decide: (failures) => failures.map((failure) => decide(settings, failure)),
};
