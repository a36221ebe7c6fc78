/**
 * Sorts failed rows into a queue for each stage.
 *
 * What is thrown becomes the `err` of the call. `console` writes to the host's log.
 */

import type * as Policy from "forebay:plugin/dead-letter-policy@0.1.0";
import type * as Describe from "forebay:plugin/describe@0.1.0";

const RETRY_AFTER_MS = 200;
/** Serialization failure, deadlock, lock not available: caused by other transactions. */
const RETRYABLE = ["SQL_40001", "SQL_40P01", "SQL_55P03"];

/** Set once on every instance, before its first batch. */
let retries = 3;

export const describe: typeof Describe = {
  // The codes are enough. Columns named in `reads` are in the fields of the failures.
  describe: () => ({ name: "{{name}}", version: "0.1.0", reads: [] }),
  configure(config) {
    for (const [name, text] of config) {
      if (name !== "retries") throw `unknown setting \`${name}\`; there is retries`;
      if (!/^[0-9]{1,9}$/.test(text)) throw `retries is \`${text}\`; it must be a whole number`;
      retries = Number(text);
    }
  },
};

export const deadLetterPolicy: typeof Policy = {
  decide: (failures) => failures.map(decision),
};

function decision({ stage, code, attempt }: Policy.Failure): Policy.Decision {
  return RETRYABLE.includes(code) && attempt <= retries
    ? { tag: "retry", val: RETRY_AFTER_MS }
    : { tag: "dead-letter", val: stage };
}
