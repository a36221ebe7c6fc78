// What `forebay plugin build` puts between the host and a plugin in TypeScript.
//
// - `console` writes to the host's log.
// - What is thrown becomes the `err` of the call, with the kind of the error and its place in the
//   source: of an `Error` the host would receive only the message.
// - Answers are checked before they are converted: a wrong type would be a trap that names no row, and
//   a number with a fraction, or NaN, would become another number without a word.
// - Integers are numbers in this engine, and exact only within ±(2^53 - 1). Reading one beyond that
//   throws; a row whose other columns are used is not affected.

import { log } from "forebay:plugin/log@0.1.0";

const SHOWN = 2000;

/** What was printed while the plugin was built, when there is no host yet. */
let early = [];

function print(level, values) {
  const line = [level, values.map(printed).join(" ")];
  if (early) early.push(line);
  else log(...line);
}

/** Called with the first call: the host is there. */
function begin(lines = []) {
  early = undefined;
  for (const line of lines) log(...line);
}

globalThis.console = {
  debug: (...values) => print("debug", values),
  log: (...values) => print("info", values),
  info: (...values) => print("info", values),
  warn: (...values) => print("warn", values),
  error: (...values) => print("error", values),
};

function printed(value) {
  if (typeof value === "string") return value;
  return value instanceof Error ? described(value) : shown(value, SHOWN);
}

/** A value as it would be written, in at most that many characters. */
function shown(value, most = 80) {
  const text = literal(value, 3);
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

function literal(value, depth) {
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function") return `[function ${value.name}]`;
  if (typeof value !== "object" || value === null) return String(value);
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (value instanceof Promise) return "a Promise (functions of a plugin cannot be async)";
  if (depth === 0) return "…";
  const inner = (item) => literal(item, depth - 1);
  if (value instanceof Map) return `Map ${literal(Object.fromEntries(value), depth)}`;
  if (value instanceof Set) return `Set ${literal([...value], depth)}`;
  if (Array.isArray(value) || ArrayBuffer.isView(value)) {
    return `[${Array.from(value).slice(0, 100).map(inner).join(", ")}]`;
  }
  const entries = Object.entries(value).slice(0, 100);
  return `{ ${entries.map(([name, item]) => `${name}: ${inner(item)}`).join(", ")} }`;
}

// Errors, and where they come from.

/** The sources of the bundle. */
let sources = [];
/** For each line of the bundle, where its segments begin in `segments`. */
let lines = [];
/** Of each segment that belongs to another line of a source: column, source and line, from 0. */
let segments = new Int32Array();

/**
 * Takes the source map of the bundle (ECMA-426), as JSON. It is decoded while the plugin is built: with
 * large libraries, that takes longer than a call may.
 */
export function use(text) {
  const map = JSON.parse(text);
  sources = map.sources.map((source) => source.replace(/^(\.\.\/)+/, ""));
  const state = [0, 0, 0, 0, 0];
  const found = [];
  for (const line of map.mappings.split(";")) {
    lines.push(found.length);
    state[0] = 0;
    for (const segment of line.split(",")) {
      if (segment === "") continue;
      numbers(segment).forEach((difference, field) => (state[field] += difference));
      const isFirst = found.length === lines.at(-1);
      if (isFirst || found.at(-1) !== state[2] || found.at(-2) !== state[1]) {
        found.push(state[0], state[1], state[2]);
      }
    }
  }
  lines.push(found.length);
  segments = Int32Array.from(found);
}

function described(error) {
  const at = place(error.stack ?? "");
  return `${error.name}: ${error.message}${at && `, ${at}`}`;
}

/** The innermost frame outside of libraries: `at keyword (src/plugin.ts:12)`. */
function place(stack) {
  const frames = [...stack.matchAll(/at (.*?)\(?\S*plugin\.mjs:(\d+):(\d+)/g)].map((frame) => ({
    name: frame[1].trim(),
    source: source(Number(frame[2]), Number(frame[3])),
  }));
  const frame = frames.find(({ source }) => source && !source.includes("node_modules/")) ?? frames[0];
  if (!frame) return "";
  const at = frame.source ?? "an unknown line";
  return frame.name === "" ? `at ${at}` : `at ${frame.name} (${at})`;
}

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** File and line of a position in the bundle. The first segment stands for what comes before it. */
function source(line, column) {
  const end = lines[line];
  let at = lines[line - 1];
  if (!(at < end)) return undefined;
  while (at + 3 < end && segments[at + 3] < column) at += 3;
  return `${sources[segments[at + 1]]}:${segments[at + 2] + 1}`;
}

/** The numbers of a segment, in base 64 with a sign and of variable length. */
function numbers(segment) {
  const all = [];
  let value = 0;
  let shift = 0;
  for (const digit of segment) {
    const bits = DIGITS.indexOf(digit);
    value += (bits & 31) << shift;
    shift += 5;
    if (bits & 32) continue;
    all.push(value & 1 ? -(value >> 1) : value >> 1);
    value = shift = 0;
  }
  return all;
}

/** What is thrown in a call becomes its `err`, which is a text. */
function guarded(call) {
  return (...values) => {
    try {
      return call(...values);
    } catch (error) {
      if (typeof error === "string") throw error;
      throw error instanceof Error ? described(error) : `thrown: ${shown(error)}`;
    }
  };
}

// Rows, as the host passes them.

/** Lets those integers throw when they are read that have been rounded. */
function exact(value, name) {
  if (value.tag !== "integer" && value.tag !== "timestamp") return;
  if (Number.isSafeInteger(value.val)) return;
  const near = value.val;
  Object.defineProperty(value, "val", {
    enumerable: true,
    get() {
      throw new RangeError(
        `column ${shown(name)} has the ${value.tag} ${near} or one near it: beyond ±(2^53 - 1), a ` +
          `number in TypeScript is not exact`,
      );
    },
  });
}

function exactBatch({ columns, rows }) {
  for (const { values } of rows) {
    for (let column = 0; column < values.length; column++) exact(values[column], columns[column]);
  }
}

// Answers.

class Wrong extends Error {}

function expect(is, value, what) {
  if (!is) throw new Wrong(`${shown(value)} is not ${what}`);
}

const text = (value) => expect(typeof value === "string", value, "a string");
const object = (value, what) => expect(typeof value === "object" && value !== null, value, what);
const list = (value) => expect(Array.isArray(value), value, "an array");
const integer = (value) =>
  expect(Number.isSafeInteger(value), value, "an integer number within ±(2^53 - 1)");
const byte = (value) => value >= 0 && value <= 255 && Number.isInteger(value);
const none = () => {};

const VALUES = {
  none,
  boolean: (value) => expect(typeof value === "boolean", value, "a boolean"),
  integer,
  real: (value) => expect(typeof value === "number", value, "a number"),
  text,
  binary: (value) =>
    expect(
      value instanceof Uint8Array || (Array.isArray(value) && value.every(byte)),
      value,
      "a Uint8Array",
    ),
  timestamp: integer,
  json: text,
  texts: (value) => {
    list(value);
    value.forEach(text);
  },
};

const ofField = ({ name }) => `field ${shown(name)}`;
const valueOf = ({ value }) => tagged(VALUES, value, "a value");

const OUTCOMES = {
  unchanged: none,
  set(fields) {
    list(fields);
    for (const field of fields) {
      object(field, "a field");
      text(field.name);
      within(ofField, valueOf, field);
    }
  },
  drop: text,
  reject: rejection,
};

const DECISIONS = {
  retry: (value) =>
    expect(Number.isInteger(value) && value >= 0 && value < 2 ** 32, value, "milliseconds"),
  "dead-letter": text,
  drop: none,
  halt: text,
};

function rejection(value) {
  object(value, "a rejection");
  const { code, message, field } = value;
  within("code", text, code);
  within("message", text, message);
  if (field !== undefined && field !== null) within("field", text, field);
}

function tagged(kinds, value, what) {
  const check = typeof value === "object" && value !== null ? kinds[value.tag] : undefined;
  if (check === undefined) {
    const tags = Object.keys(kinds).join(", ");
    throw new Wrong(`${shown(value)} is not ${what}: its tag is one of ${tags}`);
  }
  check(value.val);
}

/**
 * Checks a part of an answer. If it is wrong, adds where it was: a text, or a function that makes one of
 * the part. For a part that is right, no text and no closure is made.
 */
function within(where, check, part) {
  try {
    check(part);
  } catch (error) {
    if (error instanceof Wrong) {
      const at = typeof where === "function" ? where(part) : where;
      error.message = `${at}: ${error.message}`;
    }
    throw error;
  }
}

/** Checks the answer for each row. */
function answers(name, given, rows, check) {
  let row = -1;
  try {
    list(given);
    for (row = 0; row < given.length; row++) check(given[row]);
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    const where = row < 0 ? "" : `row ${shown(rows[row]?.key)}: `;
    throw `${name} returned a value of a wrong type: ${where}${error.message}`;
  }
  return given;
}

// The interfaces, as the engine looks for them.

function exported(plugin, name, functions) {
  const found = plugin[name];
  for (const wanted of functions) {
    if (typeof found?.[wanted] !== "function") {
      throw new Error(`src/plugin.ts exports no \`${name}\` with a function \`${wanted}\``);
    }
  }
  return found;
}

export function describe(plugin) {
  const found = exported(plugin, "describe", ["describe", "configure"]);
  return {
    describe() {
      begin(early);
      return found.describe();
    },
    configure: guarded((config) => {
      begin();
      found.configure(config);
    }),
  };
}

export function transform(plugin) {
  const found = exported(plugin, "transform", ["transform"]);
  return {
    transform: guarded((batch) => {
      exactBatch(batch);
      const check = (outcome) => tagged(OUTCOMES, outcome, "an outcome");
      return answers("transform", found.transform(batch), batch.rows, check);
    }),
  };
}

export function validate(plugin) {
  const found = exported(plugin, "validate", ["validate"]);
  return {
    validate: guarded((batch) => {
      exactBatch(batch);
      const check = (rejections) => {
        list(rejections);
        rejections.forEach(rejection);
      };
      return answers("validate", found.validate(batch), batch.rows, check);
    }),
  };
}

export function deadLetterPolicy(plugin) {
  const found = exported(plugin, "deadLetterPolicy", ["decide"]);
  return {
    decide: guarded((failures) => {
      for (const { fields } of failures) for (const { name, value } of fields) exact(value, name);
      const check = (decision) => tagged(DECISIONS, decision, "a decision");
      return answers("decide", found.decide(failures), failures, check);
    }),
  };
}
