/**
 * Begins with these roles: {{roles}}. They change nothing yet.
 *
 * What is thrown becomes the `err` of the call. `console` writes to the host's log.
 */

import type * as Describe from "forebay:plugin/describe@0.1.0";
{{#policy}}
import type * as Policy from "forebay:plugin/dead-letter-policy@0.1.0";
{{/policy}}
{{#transform}}
import type * as Transform from "forebay:plugin/transform@0.1.0";
{{/transform}}
{{#validate}}
import type * as Validate from "forebay:plugin/validate@0.1.0";
{{/validate}}

export const describe: typeof Describe = {
  // Fewer columns are faster: name them with `reads: ["title"]`.
  describe: () => ({ name: "{{name}}", version: "0.1.0" }),
  configure(config) {
    for (const [name] of config) throw `unknown setting \`${name}\`: this plugin has none`;
  },
};
{{#transform}}

export const transform: typeof Transform = {
  transform: ({ rows }) => rows.map(() => ({ tag: "unchanged" })),
};
{{/transform}}
{{#validate}}

export const validate: typeof Validate = {
  validate: ({ rows }) => rows.map(() => []),
};
{{/validate}}
{{#policy}}

export const deadLetterPolicy: typeof Policy = {
  decide: (failures) => failures.map(({ stage }) => ({ tag: "dead-letter", val: stage })),
};
{{/policy}}
