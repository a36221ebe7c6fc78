declare module 'forebay:plugin/types@0.1.0' {
  /**
   * One value of a row.
   */
  export type Value = ValueNone | ValueBoolean | ValueInteger | ValueReal | ValueText | ValueBinary | ValueTimestamp | ValueJson | ValueTexts;
  /**
   * Null, or a field the source left out.
   */
  export interface ValueNone {
    tag: 'none',
  }
  export interface ValueBoolean {
    tag: 'boolean',
    val: boolean,
  }
  /**
   * Any signed 64-bit integer. Guests whose numbers are doubles see it exactly
   * only within +-2^53. Here, reading or returning one beyond that is an error.
   */
  export interface ValueInteger {
    tag: 'integer',
    val: number,
  }
  export interface ValueReal {
    tag: 'real',
    val: number,
  }
  export interface ValueText {
    tag: 'text',
    val: string,
  }
  export interface ValueBinary {
    tag: 'binary',
    val: Uint8Array,
  }
  /**
   * Microseconds since 1970-01-01T00:00:00Z.
   */
  export interface ValueTimestamp {
    tag: 'timestamp',
    val: number,
  }
  /**
   * JSON text (RFC 8259).
   */
  export interface ValueJson {
    tag: 'json',
    val: string,
  }
  export interface ValueTexts {
    tag: 'texts',
    val: Array<string>,
  }
  /**
   * A value with its column's name.
   */
  export interface Field {
    name: string,
    value: Value,
  }
  export interface Row {
    /**
     * Identifies the row in the source and in the target tables. Never empty.
     */
    key: string,
    /**
     * In the order of `batch.columns`, and as many.
     */
    values: Array<Value>,
  }
  /**
   * Rows that share their columns. The names travel once for all rows.
   */
  export interface Batch {
    /**
     * The columns named in `descriptor.reads`, in that order, less those that the
     * pipeline does not have; all of them where it is `none`.
     */
    columns: Array<string>,
    rows: Array<Row>,
  }
  /**
   * A reason why a row must not be written.
   */
  export interface Rejection {
    /**
     * For machines: upper case with underscores, such as `FIELD_RANGE`; 1 to 64
     * characters. What is longer is cut.
     */
    code: string,
    /**
     * For people; up to 2,000 characters. What is longer is cut.
     */
    message: string,
    /**
     * The column at fault, if it is one.
     */
    field?: string | null,
  }
  /**
   * What becomes of a row.
   */
  export type Outcome = OutcomeUnchanged | OutcomeSet | OutcomeDrop | OutcomeReject;
  /**
   * Goes on as it came. Costs nothing.
   */
  export interface OutcomeUnchanged {
    tag: 'unchanged',
  }
  /**
   * Goes on with these fields set; the others stay. A name must be a field of
   * the source or a column of a target table.
   */
  export interface OutcomeSet {
    tag: 'set',
    val: Array<Field>,
  }
  /**
   * Leaves the pipeline, counted as dropped under this reason.
   */
  export interface OutcomeDrop {
    tag: 'drop',
    val: string,
  }
  /**
   * Goes to the dead letters.
   */
  export interface OutcomeReject {
    tag: 'reject',
    val: Rejection,
  }
}
