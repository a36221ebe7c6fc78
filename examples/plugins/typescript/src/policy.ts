/** Sorts failed rows into queues for the people who can fix them. */

import type { Decision, Failure } from "forebay:plugin/dead-letter-policy@0.1.0";
import type { Settings } from "./settings";

const RETRIES = 3;
const RETRY_AFTER_MS = 200;
/** Serialization failure, deadlock, lock not available: caused by other transactions. */
const RETRYABLE = ["SQL_40001", "SQL_40P01", "SQL_55P03"];

export function decide({ dropCodes, haltCodes }: Settings, failure: Failure): Decision {
  const { key, stage, code, message } = failure;
  // QuickJS hands over a `u32` of 2^31 and more as a negative number.
  const attempt = failure.attempt >>> 0;
  if (haltCodes.includes(code)) return { tag: "halt", val: `${code} at row \`${key}\`: ${message}` };
  if (dropCodes.includes(code)) return { tag: "drop" };
  if (code.startsWith("PLUGIN_")) return queue("plugin");
  switch (stage) {
    case "decode":
      return queue("source");
    case "transform":
    case "validate":
      return queue("review");
    case "write":
      return RETRYABLE.includes(code) && attempt <= RETRIES
        ? { tag: "retry", val: RETRY_AFTER_MS }
        : queue("database");
    default:
      return queue("default");
  }
}

function queue(name: string): Decision {
  return { tag: "dead-letter", val: name };
}
