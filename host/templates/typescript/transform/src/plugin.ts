/**
 * Trims the white space around texts.
 *
 * What is thrown becomes the `err` of the call. `console` writes to the host's log.
 */

import type * as Describe from "forebay:plugin/describe@0.1.0";
import type * as Transform from "forebay:plugin/transform@0.1.0";
import type { Field, Outcome, Value } from "forebay:plugin/types@0.1.0";

export const describe: typeof Describe = {
  // Fewer columns are faster: name them with `reads: ["title"]`.
  describe: () => ({ name: "{{name}}", version: "0.1.0" }),
  configure(config) {
    for (const [name] of config) throw `unknown setting \`${name}\`: this plugin has none`;
  },
};

export const transform: typeof Transform = {
  transform: ({ columns, rows }) => rows.map((row) => outcome(columns, row.values)),
};

function outcome(columns: string[], values: Value[]): Outcome {
  const set: Field[] = [];
  columns.forEach((name, column) => {
    const value = values[column];
    if (value?.tag !== "text") return;
    const text = value.val.trim();
    if (text === "") set.push({ name, value: { tag: "none" } });
    else if (text !== value.val) set.push({ name, value: { tag: "text", val: text } });
  });
  return set.length === 0 ? { tag: "unchanged" } : { tag: "set", val: set };
}
