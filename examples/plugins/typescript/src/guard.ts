/**
 * Adds the kind and the origin of an `Error` before it becomes the `err` of the call: the host
 * would receive only its message. A thrown text stays as it is.
 */
export function asErr<A extends unknown[], T>(call: (...args: A) => T): (...args: A) => T {
  return (...args) => {
    try {
      return call(...args);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      throw `${error.name}: ${error.message}, ${origin(error)}`;
    }
  };
}

/** The innermost function and its line in the bundle: `at keyword (/build/plugin.mjs:95:10)`. */
function origin(error: Error): string {
  return error.stack?.trim().split("\n")[0] ?? "at an unknown place";
}
