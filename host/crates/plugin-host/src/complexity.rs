//! Complexity of a component, counted before it is compiled.
//!
//! A small file can make the compiler run for hours and use all memory, and a running compiler
//! cannot be stopped. So everything that multiplies a few bytes is bounded, well above the output
//! of real tools: an interpreter of 18 MB reaches at most a fifth of each bound.
//!
//! * The compiler copies a component for each of its instantiations, and an instance has a copy of
//!   each of its modules: ten lines could ask for a billion. The count is an upper bound: each
//!   instantiation of a component counts as one of the largest before it.
//! * Types can be nested (`complexity/types.rs`).
//! * Functions can take more effort than their size suggests (`complexity/function.rs`).
//! * Tables, memories and globals can be initialized by code (`complexity/startup.rs`).

mod bound;
mod function;
mod startup;
mod types;

use wasmparser::{
    BinaryReader, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ComponentTypeRef, CompositeInnerType, CoreType, Encoding, Instance,
    Parser, Payload,
};

use bound::{ComplexityError, at_most};
use function::Signatures;
use startup::Startup;

/// Maximum depth of nested components. Tools generate two.
const MAX_DEPTH: usize = 20;

/// Maximum items that each instance has of its own: functions, globals, imports, exports, aliases.
/// An interpreter has 30,000. Each takes up to 40 bytes in each instance of a plugin, which are not
/// part of `plugins.limits.memory`.
const MAX_ITEMS: usize = 1_000_000;

/// Maximum functions in a file; each takes at least 0.1 ms. An interpreter has 14,000.
const MAX_FUNCTIONS: usize = 100_000;

/// Maximum types in a file; each takes 0.4 ms. An interpreter has 1,500.
const MAX_TYPES: usize = 10_000;

/// Maximum parameters and results of a function. Tools generate 20.
const MAX_VALUES: usize = 100;

/// Maximum steps before any function is called; each takes 0.1 ms and 7 KB. An interpreter has
/// 9,000.
const MAX_STEPS: usize = 50_000;

/// Maximum effort for all functions: a fixed part, and a part per byte of code. Tools generate one
/// and a half per byte.
const MIN_EFFORT: usize = 1_000_000;
const MAX_EFFORT_PER_BYTE: usize = 8;

/// Checks that a component has at most `instances` core instances, and that the effort to compile
/// it is bounded.
///
/// # Errors
/// When it exceeds a bound, or cannot be parsed.
pub(super) fn check(bytes: &[u8], instances: usize) -> Result<(), ComplexityError> {
    let mut counts = Counts::default();
    for payload in Parser::new(0).parse_all(bytes) {
        counts.take(&payload?, bytes)?;
        counts.check(instances)?;
    }
    let limit = counts.code.saturating_mul(MAX_EFFORT_PER_BYTE);
    let limit = limit.saturating_add(MIN_EFFORT);
    at_most(counts.effort, limit, function::EFFORT)
}

/// Counts so far.
#[derive(Default)]
struct Counts {
    /// Modules and components that the parser is inside of, outermost first.
    open: Vec<Part>,
    /// Maximum of each part of the size over all completed components.
    largest: Size,
    functions: usize,
    types: usize,
    /// Steps at startup.
    steps: usize,
    /// Effort for functions.
    effort: usize,
    /// Bytes of functions.
    code: usize,
}

/// A module or a component.
#[derive(Default)]
struct Part {
    /// Size without the components that it instantiates.
    size: Size,
    /// Number of component instantiations.
    components: usize,
    /// Items of each module that it can instantiate.
    modules: Vec<usize>,
    is_module: bool,
    signatures: Signatures,
    startup: Startup,
}

/// Things that each instance has of its own.
#[derive(Clone, Copy, Default)]
struct Size {
    /// Number of core instances.
    core: usize,
    items: usize,
}

impl Counts {
    fn take(&mut self, payload: &Payload<'_>, bytes: &[u8]) -> Result<(), ComplexityError> {
        match payload {
            Payload::Version { encoding, .. } => {
                if self.open.len() > MAX_DEPTH {
                    let message = format!("has more than {MAX_DEPTH} levels of nested components");
                    return Err(ComplexityError::Excessive(message));
                }
                self.open.push(Part {
                    is_module: *encoding == Encoding::Module,
                    ..Part::default()
                });
            }
            Payload::End(_) => self.end(),
            _ => {
                self.count(payload)?;
                self.core(payload)?;
                self.component(payload, bytes)?;
            }
        }
        Ok(())
    }

    /// Counts the items of a section of any kind.
    fn count(&mut self, payload: &Payload<'_>) -> Result<(), ComplexityError> {
        let items = match payload {
            Payload::ImportSection(it) => it.count(),
            Payload::FunctionSection(it) => it.count(),
            Payload::GlobalSection(it) => it.count(),
            Payload::ExportSection(it) => it.count(),
            Payload::InstanceSection(it) => it.count(),
            Payload::ComponentInstanceSection(it) => it.count(),
            Payload::ComponentAliasSection(it) => it.count(),
            Payload::ComponentCanonicalSection(it) => it.count(),
            Payload::ComponentImportSection(it) => it.count(),
            Payload::ComponentExportSection(it) => it.count(),
            _ => 0,
        };
        self.items(items as usize);
        Ok(())
    }

    fn items(&mut self, items: usize) {
        if let Some(part) = self.open.last_mut() {
            part.size.items = part.size.items.saturating_add(items);
        }
    }

    /// Counts the contents of a section of a module.
    fn core(&mut self, payload: &Payload<'_>) -> Result<(), ComplexityError> {
        let Some(part) = self.open.last_mut() else {
            return Ok(());
        };
        match payload {
            Payload::TypeSection(section) => {
                for group in section.clone() {
                    for ty in group?.types() {
                        self.types += 1;
                        let values = match &ty.composite_type.inner {
                            CompositeInnerType::Func(ty) => ty.params().len() + ty.results().len(),
                            _ => 0,
                        };
                        part.signatures.values.push(values);
                        part.signatures.most = part.signatures.most.max(values);
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    part.startup.import(import?.ty);
                }
            }
            Payload::FunctionSection(section) => self.functions += section.count() as usize,
            Payload::TableSection(section) => {
                for table in section.clone() {
                    self.steps += part.startup.table(&table?)?;
                }
            }
            Payload::MemorySection(section) => {
                for memory in section.clone() {
                    part.startup.memory(memory?);
                }
            }
            Payload::GlobalSection(section) => {
                for global in section.clone() {
                    self.steps += Startup::global(&global?)?;
                }
            }
            Payload::ElementSection(section) => {
                for segment in section.clone() {
                    self.steps += part.startup.elements(segment?)?;
                }
            }
            Payload::DataSection(section) => {
                self.steps += part.startup.data(section.clone().into_iter())?;
            }
            Payload::CodeSectionEntry(body) => {
                self.effort += function::effort(body, &part.signatures)?;
                self.code += body.range().len();
            }
            _ => {}
        }
        Ok(())
    }

    /// Counts the contents of a section of a component.
    fn component(&mut self, payload: &Payload<'_>, bytes: &[u8]) -> Result<(), ComplexityError> {
        match payload {
            Payload::CoreTypeSection(section) => {
                for ty in section.clone() {
                    self.types += match ty? {
                        CoreType::Rec(group) => group.types().len(),
                        CoreType::Module(declarations) => declarations.len(),
                    };
                }
            }
            Payload::ComponentTypeSection(section) => {
                let section = bytes.get(section.range()).unwrap_or_default();
                self.types += types::count(BinaryReader::new(section, 0))?;
            }
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    self.instance(&instance?);
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    match instance? {
                        ComponentInstance::Instantiate { args, .. } => {
                            self.items(args.len());
                            if let Some(part) = self.open.last_mut() {
                                part.components += 1;
                            }
                        }
                        ComponentInstance::FromExports(exports) => self.items(exports.len()),
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    let import = import?;
                    let what = match import.ty {
                        ComponentTypeRef::Component(_) => "component",
                        ComponentTypeRef::Module(_) => "core module",
                        _ => continue,
                    };
                    let message = format!("imports the {what} `{}`", import.name.name);
                    return Err(ComplexityError::Excessive(message));
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    self.alias(&alias?)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn instance(&mut self, instance: &Instance<'_>) {
        let Some(part) = self.open.last_mut() else {
            return;
        };
        let items = match instance {
            Instance::Instantiate { module_index, args } => {
                part.size.core += 1;
                let module = part.modules.get(*module_index as usize).copied();
                args.len().saturating_add(module.unwrap_or_default())
            }
            Instance::FromExports(exports) => exports.len(),
        };
        self.items(items);
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) -> Result<(), ComplexityError> {
        match alias {
            ComponentAlias::InstanceExport {
                kind: ComponentExternalKind::Component | ComponentExternalKind::Module,
                name,
                ..
            } => Err(ComplexityError::Excessive(format!(
                "takes the component `{name}` from an instance"
            ))),
            ComponentAlias::Outer {
                kind: ComponentOuterAliasKind::CoreModule,
                count,
                index,
            } => {
                let outer = self.open.iter().rev().nth(*count as usize);
                let module = outer.and_then(|part| part.modules.get(*index as usize).copied());
                if let Some(part) = self.open.last_mut() {
                    part.modules.push(module.unwrap_or_default());
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Adds the innermost part to the totals at its end.
    fn end(&mut self) {
        let Some(part) = self.open.pop() else { return };
        if part.is_module {
            if let Some(component) = self.open.last_mut() {
                component.modules.push(part.size.items);
            }
            return;
        }
        let copies = |each: usize| part.components.saturating_mul(each);
        let core = part
            .size
            .core
            .saturating_add(copies(self.largest.core.max(1)));
        let items = part.size.items.saturating_add(copies(self.largest.items));
        self.largest.core = self.largest.core.max(core);
        self.largest.items = self.largest.items.max(items);
    }

    /// Checks the counts so far.
    fn check(&self, instances: usize) -> Result<(), ComplexityError> {
        let parts = self.open.iter().map(|part| &part.size);
        for size in parts.chain([&self.largest]) {
            if size.core > instances {
                return Err(ComplexityError::Excessive(format!(
                    "consists of more than {instances} instances (`plugins.limits.instances`)"
                )));
            }
            at_most(size.items, MAX_ITEMS, "items in all of its instances")?;
        }
        let values = self.open.last().map_or(0, |part| part.signatures.most);
        at_most(values, MAX_VALUES, "parameters and results in a function")?;
        at_most(self.functions, MAX_FUNCTIONS, "functions")?;
        at_most(self.types, MAX_TYPES, "types")?;
        at_most(
            self.steps,
            MAX_STEPS,
            "elements, data segments and globals to initialize at startup",
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(), &str>) {
        let bytes = wat::parse_str(text).unwrap();
        let result = super::check(&bytes, 12).map_err(|unfit| unfit.to_string());
        assert_eq!(result, expected.map_err(str::to_owned));
    }

    #[test]
    fn copies_are_counted() {
        let leaf = "(component $a (core module $m) (core instance (instantiate $m)))";
        let four = "(instance (instantiate $a))".repeat(4);
        let middle = format!("(component $b (alias outer 1 $a (component $a)) {four})");
        let three = "(instance (instantiate $b))".repeat(3);
        check(&format!("(component {leaf} {middle} {three})"), Ok(()));
        let many = "consists of more than 12 instances (`plugins.limits.instances`)";
        let one_more = "(instance (instantiate $a))";
        check(
            &format!("(component {leaf} {middle} {three} {one_more})"),
            Err(many),
        );
        let flat = "(core instance (instantiate $m))".repeat(13);
        check(&format!("(component (core module $m) {flat})"), Err(many));
    }

    #[test]
    fn components_that_cannot_be_counted_are_refused() {
        check(
            r#"(component (component (import "c" (component))))"#,
            Err("imports the component `c`"),
        );
        check(
            r#"(component
                (import "i" (instance $i (export "c" (component))))
                (alias export $i "c" (component)))"#,
            Err("takes the component `c` from an instance"),
        );
        assert!(super::check(b"\0asm\x0d\0\x01\0\x01\x05", 12).is_err());
    }

    #[test]
    fn contents_known_in_advance_take_no_step() {
        let steps = |module: &str| {
            let bytes = wat::parse_str(format!("(component (core module {module}))")).unwrap();
            let mut counts = Counts::default();
            for payload in Parser::new(0).parse_all(&bytes) {
                counts.take(&payload.unwrap(), &bytes).unwrap();
            }
            counts.steps
        };
        let check = |module: &str, expected| assert_eq!(steps(module), expected, "{module}");
        let data = r#"(data (i32.const 0) "a") (data (i32.const 65535) "b")"#;
        check(&format!("(memory 1) {data}"), 0);
        check(&format!("(memory 0) {data}"), 2);
        check(&format!("(import \"m\" \"m\" (memory 1)) {data}"), 2);
        let apart = r#"(data (i32.const 0) "a") (data (i32.const 0x1000000) "b")"#;
        check(&format!("(memory 1000) {apart}"), 2);
        check(r#"(memory 1) (data "passive")"#, 1);

        let elements = "(func $f) (elem (i32.const 0) func $f $f $f)";
        check(&format!("(table 3 funcref) {elements}"), 0);
        check(&format!("(table 2 funcref) {elements}"), 3);
        check(
            &format!("(import \"m\" \"t\" (table 3 funcref)) {elements}"),
            3,
        );
    }

    #[test]
    fn functions_take_more_effort_than_their_size() {
        let module =
            |body: &str| format!("(component (core module (func (local i32 i32) {body})))");
        // Blocks times two locals.
        check(&module(&"block end ".repeat(300_000)), Ok(()));
        check(
            &module(&"block end ".repeat(300_001)),
            Err(
                "has 600002 units of effort (blocks times locals plus calls times values) in a \
                 function; at most 600000 are allowed",
            ),
        );
        check(&module(&"loop end ".repeat(3_000)), Ok(()));
        let many = super::check(
            &wat::parse_str(module(&"loop end ".repeat(3_200))).unwrap(),
            12,
        );
        assert!(
            many.unwrap_err()
                .to_string()
                .contains("blocks times locals")
        );
        let loops = |depth| module(&("loop ".repeat(depth) + &"end ".repeat(depth)));
        check(&loops(100), Ok(()));
        check(
            &loops(101),
            Err("has 101 levels of nested loops; at most 100 are allowed"),
        );
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth| format!("{}{}", "(component ".repeat(depth), ")".repeat(depth));
        check(&nested(20), Ok(()));
        check(
            &nested(30),
            Err("has more than 20 levels of nested components"),
        );
    }
}
