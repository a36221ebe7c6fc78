//! What a component consists of, counted before it is compiled.
//!
//! A file may be small and yet ask the compiler for hours and all memory; a compiler that has been
//! asked cannot be stopped. So what makes that out of a few bytes is bounded, above what tools
//! make: an interpreter of 18 MB is at a fifth of each bound or below.
//!
//! * Compiling makes a copy of each component for each time that it is instantiated, and an instance
//!   has one of each module: ten lines could ask for a billion of them. What is counted is an upper
//!   bound: each instantiation of a component counts as that of the largest before it.
//! * Types may be within each other (`shape/types.rs`).
//! * Functions may have more to compile than bytes (`shape/function.rs`).
//! * Tables, memories and globals may be filled by code (`shape/startup.rs`).

mod function;
mod startup;
mod types;

use wasmparser::{
    BinaryReader, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ComponentTypeRef, CompositeInnerType, CoreType, Encoding, Instance,
    Parser, Payload,
};

use function::Signatures;
use startup::Startup;

/// Components within each other. Tools make two.
const MAX_DEPTH: usize = 20;

/// What is made anew for each instance: functions, globals, imports, exports, aliases. An
/// interpreter has 30,000. Each takes up to 40 bytes in each instance of a plugin, which are not
/// part of `plugins.limits.memory`.
const MAX_ITEMS: usize = 1_000_000;

/// Functions in a file, of 0.1 ms at least. An interpreter has 14,000.
const MAX_FUNCTIONS: usize = 100_000;

/// Types in a file, of 0.4 ms each. An interpreter has 1,500.
const MAX_TYPES: usize = 10_000;

/// Parameters and results of a function. Tools make 20.
const MAX_VALUES: usize = 100;

/// Steps before any function is called, of 0.1 ms and 7 KB each. An interpreter has 9,000.
const MAX_STEPS: usize = 50_000;

/// The effort for all functions: so much, and so much per byte of code. Tools come to one and a
/// half per byte.
const MIN_EFFORT: usize = 1_000_000;
const MAX_EFFORT_PER_BYTE: usize = 8;

/// Checks that a component comes to at most `instances` core instances, and that it can be
/// compiled with a bounded effort.
///
/// # Errors
///
/// What is wrong. Bytes that cannot be parsed are an error too.
pub(super) fn check(bytes: &[u8], instances: usize) -> Result<(), Unfit> {
    let mut shape = Shape::default();
    for payload in Parser::new(0).parse_all(bytes) {
        shape.take(&payload?, bytes)?;
        shape.within(instances)?;
    }
    let most = shape.code.saturating_mul(MAX_EFFORT_PER_BYTE);
    let most = most.saturating_add(MIN_EFFORT);
    at_most(shape.effort, most, function::EFFORT)
}

/// Why a component is not compiled.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("not a valid component: {0}")]
    Invalid(#[from] wasmparser::Error),
    #[error("{0}")]
    Large(String),
}

fn at_most(count: usize, most: usize, of_what: &str) -> Result<(), Unfit> {
    if count > most {
        let message = format!("has {count} {of_what}; at most {most} are compiled");
        return Err(Unfit::Large(message));
    }
    Ok(())
}

#[derive(Default)]
struct Shape {
    /// The modules and components that have begun and not ended.
    open: Vec<Part>,
    /// The largest component that has ended, in either respect.
    largest: Size,
    functions: usize,
    types: usize,
    steps: usize,
    effort: usize,
    /// Bytes of functions.
    code: usize,
}

/// A module or a component.
#[derive(Default)]
struct Part {
    /// Its own.
    size: Size,
    /// Instantiations of other components.
    components: usize,
    /// Items of the modules that it can instantiate.
    modules: Vec<usize>,
    is_module: bool,
    signatures: Signatures,
    startup: Startup,
}

/// What is made for each instance.
#[derive(Clone, Copy, Default)]
struct Size {
    /// Core instances.
    core: usize,
    items: usize,
}

impl Shape {
    fn take(&mut self, payload: &Payload<'_>, bytes: &[u8]) -> Result<(), Unfit> {
        match payload {
            Payload::Version { encoding, .. } => {
                if self.open.len() > MAX_DEPTH {
                    let message = format!("has more than {MAX_DEPTH} components within each other");
                    return Err(Unfit::Large(message));
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

    /// Counts the items of a section, whatever they are.
    fn count(&mut self, payload: &Payload<'_>) -> Result<(), Unfit> {
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

    /// A section of a module.
    fn core(&mut self, payload: &Payload<'_>) -> Result<(), Unfit> {
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

    /// A section of a component.
    fn component(&mut self, payload: &Payload<'_>, bytes: &[u8]) -> Result<(), Unfit> {
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
                    return Err(Unfit::Large(message));
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

    fn alias(&mut self, alias: &ComponentAlias<'_>) -> Result<(), Unfit> {
        match alias {
            ComponentAlias::InstanceExport {
                kind: ComponentExternalKind::Component | ComponentExternalKind::Module,
                name,
                ..
            } => Err(Unfit::Large(format!(
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

    /// Checks what was counted until now.
    fn within(&self, instances: usize) -> Result<(), Unfit> {
        let parts = self.open.iter().map(|part| &part.size);
        for size in parts.chain([&self.largest]) {
            if size.core > instances {
                return Err(Unfit::Large(format!(
                    "consists of more than {instances} instances (`plugins.limits.instances`)"
                )));
            }
            at_most(size.items, MAX_ITEMS, "items in all its instances")?;
        }
        let values = self.open.last().map_or(0, |part| part.signatures.most);
        at_most(values, MAX_VALUES, "parameters and results in a function")?;
        at_most(self.functions, MAX_FUNCTIONS, "functions")?;
        at_most(self.types, MAX_TYPES, "types")?;
        at_most(
            self.steps,
            MAX_STEPS,
            "elements, data and globals to set when it starts",
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
    fn what_could_not_be_counted_is_refused() {
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
    fn what_is_laid_out_in_advance_is_no_step() {
        let steps = |module: &str| {
            let bytes = wat::parse_str(format!("(component (core module {module}))")).unwrap();
            let mut shape = Shape::default();
            for payload in Parser::new(0).parse_all(&bytes) {
                shape.take(&payload.unwrap(), &bytes).unwrap();
            }
            shape.steps
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
    fn functions_have_more_than_bytes() {
        let module =
            |body: &str| format!("(component (core module (func (local i32 i32) {body})))");
        // Blocks times two locals.
        check(&module(&"block end ".repeat(300_000)), Ok(()));
        check(
            &module(&"block end ".repeat(300_001)),
            Err(
                "has 600002 blocks times locals and calls times values in a function; at most \
                 600000 are compiled",
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
            Err("has 101 loops within each other; at most 100 are compiled"),
        );
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth| format!("{}{}", "(component ".repeat(depth), ")".repeat(depth));
        check(&nested(20), Ok(()));
        check(
            &nested(30),
            Err("has more than 20 components within each other"),
        );
    }
}
