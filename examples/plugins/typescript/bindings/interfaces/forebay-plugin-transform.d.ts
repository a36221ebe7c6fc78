/// <reference path="./forebay-plugin-types.d.ts" />
declare module 'forebay:plugin/transform@0.1.0' {
  /**
   * One outcome per row, in order; `err` means the whole batch failed.
   */
  export function transform(batch: Batch): Array<Outcome>;
  export type Batch = import('forebay:plugin/types@0.1.0').Batch;
  export type Outcome = import('forebay:plugin/types@0.1.0').Outcome;
}
