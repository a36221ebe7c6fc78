declare module 'forebay:plugin/describe@0.1.0' {
  /**
   * Must not depend on anything: called once when the plugin is loaded.
   */
  export function describe(): Descriptor;
  /**
   * The settings the pipeline has for this plugin, called once on every instance
   * before its first batch. An error stops the pipeline before its first row, with
   * this message; say which key is wrong and what it may be.
   */
  export function configure(config: Array<[string, string]>): void;
  export interface Descriptor {
    /**
     * Lower case words joined by hyphens, 1 to 64 characters: how the configuration
     * and the reports name this plugin. Unique within a directory.
     */
    name: string,
    /**
     * Free text such as a semantic version, for people.
     */
    version: string,
    /**
     * The columns this plugin wants to see; `none` for all. Fewer is faster.
     */
    reads?: Array<string> | null,
  }
}
