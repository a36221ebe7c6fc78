/// <reference path="./forebay-plugin-types.d.ts" />
declare module 'forebay:plugin/validate@0.1.0' {
  /**
   * The rejections of each row, in order; an empty list lets the row pass. `err` means
   * the whole batch failed.
   */
  export function validate(batch: Batch): Array<Array<Rejection>>;
  export type Batch = import('forebay:plugin/types@0.1.0').Batch;
  export type Rejection = import('forebay:plugin/types@0.1.0').Rejection;
}
