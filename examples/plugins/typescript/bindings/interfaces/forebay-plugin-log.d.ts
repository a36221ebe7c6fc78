declare module 'forebay:plugin/log@0.1.0' {
  /**
   * One line of at most 2,000 characters; what is longer is cut. After 100 lines in a
   * call the rest is counted instead of written.
   */
  export function log(level: Level, message: string): void;
  /**
   * # Variants
   * 
   * ## `"debug"`
   * 
   * ## `"info"`
   * 
   * ## `"warn"`
   * 
   * ## `"error"`
   */
  export type Level = 'debug' | 'info' | 'warn' | 'error';
}
