/// <reference path="./forebay-plugin-types.d.ts" />
declare module 'forebay:plugin/dead-letter-policy@0.1.0' {
  /**
   * One decision per failure, in order.
   */
  export function decide(failures: Array<Failure>): Array<Decision>;
  export type Field = import('forebay:plugin/types@0.1.0').Field;
  export interface Failure {
    /**
     * Empty when it is the key that is missing.
     */
    key: string,
    /**
     * Where it failed: `decode`, `transform`, `validate` or `write`.
     */
    stage: string,
    /**
     * `decode`: ROW_MALFORMED, ROW_TOO_LARGE, KEY_MISSING, KEY_INVALID, FIELD_UNKNOWN,
     * FIELD_TYPE, EMBEDDING_MISSING, EMBEDDING_UNKNOWN, EMBEDDING_DIMENSIONS,
     * EMBEDDING_NOT_FINITE. `transform` and `validate`: the code of the rejection, or
     * PLUGIN_TRAP, PLUGIN_DEADLINE, PLUGIN_MEMORY, PLUGIN_ERROR, PLUGIN_OUTPUT. `write`:
     * VALUE_TYPE, VALUE_RANGE, EMBEDDING_DIMENSIONS, or SQL_ and the five characters of
     * the SQLSTATE.
     */
    code: string,
    message: string,
    /**
     * How often this row has failed in this chunk, from 1.
     */
    attempt: number,
    /**
     * What is known of the row's fields; empty if it could not be decoded.
     */
    fields: Array<Field>,
  }
  export type Decision = DecisionRetry | DecisionDeadLetter | DecisionDrop | DecisionHalt;
  /**
   * Try the row again after this many milliseconds. The host bounds how often and
   * how long; past that the row is dead-lettered in queue `default`.
   */
  export interface DecisionRetry {
    tag: 'retry',
    val: number,
  }
  /**
   * Keep the row in the dead letters, in this queue (1 to 64 characters).
   */
  export interface DecisionDeadLetter {
    tag: 'dead-letter',
    val: string,
  }
  /**
   * Forget the row; it is counted as dropped.
   */
  export interface DecisionDrop {
    tag: 'drop',
  }
  /**
   * Stop the pipeline with this message. Nothing of the chunk is written.
   */
  export interface DecisionHalt {
    tag: 'halt',
    val: string,
  }
}
