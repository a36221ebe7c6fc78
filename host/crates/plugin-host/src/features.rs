//! WebAssembly features that are off, by name: a component that uses one is refused for it, and not
//! as a damaged file. `plugins/FEATURES.md` lists them for people.

use wasmparser::{Validator, WasmFeatures};

/// A feature that is off.
struct Feature {
    flags: WasmFeatures,
    name: &'static str,
    /// Suggested remedy.
    hint: &'static str,
}

/// All of them that have a name. Features that are on are in [`ON`].
const OFF: [Feature; 14] = [
    Feature {
        flags: WasmFeatures::CM_ASYNC
            .union(WasmFeatures::CM_ASYNC_STACKFUL)
            .union(WasmFeatures::CM_MORE_ASYNC_BUILTINS)
            .union(WasmFeatures::CM_THREADING),
        name: "asynchronous functions (component-model-async)",
        hint: "build it with synchronous exports, for example with `componentize-qjs --sync`",
    },
    Feature {
        flags: WasmFeatures::EXCEPTIONS.union(WasmFeatures::LEGACY_EXCEPTIONS),
        name: "exceptions (exception-handling)",
        hint: "build it without them, for example with `-fno-exceptions`",
    },
    Feature {
        flags: WasmFeatures::GC_TYPES,
        name: "garbage collection (gc)",
        hint: "build it for linear memory, with a compiler that brings its own heap",
    },
    Feature {
        flags: WasmFeatures::STACK_SWITCHING,
        name: "stack switching",
        hint: "build it without coroutines or effects on the WebAssembly stack",
    },
    Feature {
        flags: WasmFeatures::THREADS.union(WasmFeatures::SHARED_EVERYTHING_THREADS),
        name: "threads (shared memory and atomics)",
        hint: "build it for one thread, without `-pthread` or `-matomics`",
    },
    Feature {
        flags: WasmFeatures::CM64,
        name: "64-bit memories at the component's interface (cm64)",
        hint: "build it for wasm32",
    },
    Feature {
        flags: WasmFeatures::CUSTOM_PAGE_SIZES,
        name: "custom page sizes",
        hint: "build it with pages of 64 KiB",
    },
    Feature {
        flags: WasmFeatures::WIDE_ARITHMETIC,
        name: "wide arithmetic",
        hint: "build it without `-mwide-arithmetic`",
    },
    Feature {
        flags: WasmFeatures::CUSTOM_DESCRIPTORS,
        name: "custom descriptors",
        hint: "build it for linear memory, with a compiler that brings its own heap",
    },
    Feature {
        flags: WasmFeatures::CM_ERROR_CONTEXT,
        name: "error contexts (component-model-error-context)",
        hint: "build it for WASI 0.2",
    },
    Feature {
        flags: WasmFeatures::CM_FIXED_LENGTH_LISTS,
        name: "fixed-length lists",
        hint: "build it against `wit/` of this version",
    },
    Feature {
        flags: WasmFeatures::CM_MAP,
        name: "maps",
        hint: "build it against `wit/` of this version",
    },
    Feature {
        flags: WasmFeatures::CM_VALUES,
        name: "values as imports and exports",
        hint: "build it against `wit/` of this version",
    },
    Feature {
        flags: WasmFeatures::CM_GC,
        name: "garbage-collected values at the component's interface (component-model-gc)",
        hint: "build it for linear memory, with a compiler that brings its own heap",
    },
];

/// Features that are on: WebAssembly 3.0, but for those of [`OFF`], and components.
const ON: WasmFeatures = WasmFeatures::WASM3.union(WasmFeatures::COMPONENT_MODEL);

/// Names the features that are off and that a component uses, and says what to do; `None` if it would
/// not be valid with all of them either.
///
/// Takes a validation for each feature, so it is for components that were refused.
pub(super) fn missing(bytes: &[u8]) -> Option<(String, String)> {
    let all = OFF.iter().fold(ON, |all, feature| all | feature.flags);
    let is_valid = |features| {
        Validator::new_with_features(features)
            .validate_all(bytes)
            .is_ok()
    };
    if !is_valid(all) {
        return None;
    }
    let used: Vec<&Feature> = OFF
        .iter()
        .filter(|feature| !is_valid(all - feature.flags))
        .collect();
    let names: Vec<&str> = used.iter().map(|feature| feature.name).collect();
    let mut hints: Vec<&str> = used.iter().map(|feature| feature.hint).collect();
    hints.dedup();
    (!used.is_empty()).then(|| {
        (
            format!(
                "uses features that this host does not have: {}",
                names.join(", ")
            ),
            format!("{}; plugins/FEATURES.md lists what loads", hints.join("; ")),
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use wasmtime::component::Component;

    use super::*;
    use crate::bare::bare;

    /// Both sides of what the page says.
    #[test]
    fn h4_a_feature_is_on_or_is_named() {
        let engine = bare(512 << 10).unwrap();
        let check = |text: &str, expected: &str| {
            let bytes = wat::parse_str(format!("(component {text})")).unwrap();
            let loads = Component::new(&engine, &bytes);
            let missing = missing(&bytes).map(|(what, _)| what);
            match expected {
                "" => assert!(loads.is_ok(), "{text}: {:?}", loads.err()),
                expected => {
                    assert!(loads.is_err(), "{text} loads");
                    let missing = missing.unwrap_or_default();
                    let expected = format!(": {expected}");
                    assert!(missing.ends_with(&expected), "{text}: {missing}");
                }
            }
        };
        let core = |body: &str, expected| check(&format!("(core module {body})"), expected);
        core("(func (drop (i32.extend8_s (i32.const 1))))", "");
        core("(func (drop (i32.trunc_sat_f32_s (f32.const 1))))", "");
        core(
            "(memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))",
            "",
        );
        core("(func (result i32 i32) (i32.const 1) (i32.const 1))", "");
        core("(func (drop (v128.const i32x4 0 0 0 0)))", "");
        core(
            "(func (param v128) (result v128) (i32x4.relaxed_trunc_f32x4_s (local.get 0)))",
            "",
        );
        core("(func $f (return_call $f))", "");
        core("(memory 1) (memory 1)", "");
        core("(memory i64 1)", "");
        core("(global i32 (i32.add (i32.const 1) (i32.const 1)))", "");
        core("(table 1 funcref) (func (drop (ref.null func)))", "");
        core(
            "(type $t (func)) (func (param (ref $t)) (call_ref $t (local.get 0)))",
            "",
        );

        core("(tag $t)", "exceptions (exception-handling)");
        core("(type (struct))", "garbage collection (gc)");
        core("(func (param externref))", "garbage collection (gc)");
        // Continuations are garbage-collected.
        core(
            "(type $f (func)) (type (cont $f))",
            "garbage collection (gc), stack switching",
        );
        core("(memory 1 1 shared)", "threads (shared memory and atomics)");
        core(
            "(memory 1) (func (drop (i32.atomic.load (i32.const 0))))",
            "threads (shared memory and atomics)",
        );
        core("(memory 1 (pagesize 1))", "custom page sizes");
        core(
            "(func (result i64 i64) (i64.add128 (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1)))",
            "wide arithmetic",
        );
        check(
            "(type (future u8))",
            "asynchronous functions (component-model-async)",
        );
        check("(type (list u8 4))", "fixed-length lists");
        check(
            "(type error-context)",
            "error contexts (component-model-error-context)",
        );
    }

    #[test]
    fn h4_a_damaged_file_is_not_said_to_use_a_feature() {
        let mut bytes = wat::parse_str("(component (core module (func)))").unwrap();
        bytes.truncate(bytes.len() - 3);
        assert_eq!(missing(&bytes), None);
    }
}
