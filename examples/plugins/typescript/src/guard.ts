/**
 * Gives an `Error` its kind and where it was thrown, before it becomes the `err` of the call:
 * the host learns its message alone. A text that is thrown stays as it is.
 */
export function told<A extends unknown[], T>(call: (...args: A) => T): (...args: A) => T {
  return (...args) => {
    try {
      return call(...args);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      throw `${error.name}: ${error.message}, ${origin(error)}`;
    }
  };
}

/** The innermost function, and its line in the bundle: `at keyword (/build/plugin.mjs:95:10)`. */
function origin(error: Error): string {
  return error.stack?.trim().split("\n")[0] ?? "at an unknown place";
}
