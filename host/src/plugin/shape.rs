//! What a component consists of, counted before it is compiled.
//!
//! Compiling makes a copy of each component for each time that it is instantiated. So ten lines
//! can ask for a billion of them, and the limits of a running instance would come too late.
//! What is counted here is an upper bound: each instantiation counts as that of the largest
//! component before it. Tools that make components come to a dozen.
//!
//! A function is compiled as a whole: one of 7 MB, the most that is valid, takes 2.5 GB and 10 s
//! of a processor. So the size of functions is bounded as well.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentTypeRef, Instance, Parser,
    Payload,
};

/// Components within each other. Tools make two.
const MAX_DEPTH: usize = 20;

/// Bytes of a function's body. The largest that tools are known to make, the loop of CPython, has
/// 430 KB.
const MAX_FUNCTION: usize = 1 << 20;

/// Checks that a component comes to at most `instances` core instances, and that it can be
/// compiled with a bounded effort.
///
/// # Errors
///
/// What is wrong. Bytes that cannot be parsed are an error too.
pub(super) fn check(bytes: &[u8], instances: usize) -> Result<(), String> {
    let mut shape = Shape::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| format!("not a valid component: {error}"))?;
        shape.take(&payload)?;
        if shape.largest > instances || shape.open.iter().any(|it| it.core > instances) {
            return Err(format!(
                "consists of more than {instances} instances (`plugins.limits.instances`)"
            ));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Shape {
    /// The modules and components that have begun and not ended.
    open: Vec<Counts>,
    /// Core instances in the largest component that has ended.
    largest: usize,
}

#[derive(Default)]
struct Counts {
    /// Core instances of its own.
    core: usize,
    /// Instantiations of other components.
    components: usize,
}

impl Shape {
    fn take(&mut self, payload: &Payload<'_>) -> Result<(), String> {
        let invalid = |error| format!("not a valid component: {error}");
        match payload {
            Payload::Version { .. } => {
                if self.open.len() > MAX_DEPTH {
                    return Err(format!(
                        "has more than {MAX_DEPTH} components within each other"
                    ));
                }
                self.open.push(Counts::default());
            }
            Payload::CodeSectionEntry(body) if body.range().len() > MAX_FUNCTION => {
                let size = body.range().len();
                return Err(format!(
                    "has a function of {size} bytes; at most {MAX_FUNCTION} are compiled"
                ));
            }
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    if let Instance::Instantiate { .. } = instance.map_err(invalid)? {
                        self.count(|counts| &mut counts.core);
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    if let ComponentInstance::Instantiate { .. } = instance.map_err(invalid)? {
                        self.count(|counts| &mut counts.components);
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    let import = import.map_err(invalid)?;
                    if let ComponentTypeRef::Component(_) = import.ty {
                        return Err(format!("imports the component `{}`", import.name.name));
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    if let ComponentAlias::InstanceExport {
                        kind: ComponentExternalKind::Component,
                        name,
                        ..
                    } = alias.map_err(invalid)?
                    {
                        return Err(format!("takes the component `{name}` from an instance"));
                    }
                }
            }
            Payload::End(_) => {
                let Counts { core, components } = self.open.pop().unwrap_or_default();
                let copies = components.saturating_mul(self.largest.max(1));
                self.largest = self.largest.max(core.saturating_add(copies));
            }
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, which: impl FnOnce(&mut Counts) -> &mut usize) {
        if let Some(counts) = self.open.last_mut() {
            *which(counts) += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::MAX_FUNCTION;

    #[track_caller]
    fn check(text: &str, expected: Result<(), &str>) {
        let bytes = wat::parse_str(text).unwrap();
        assert_eq!(super::check(&bytes, 12), expected.map_err(str::to_owned));
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
    fn functions_are_bounded() {
        let module = |times| {
            let nothing = "nop ".repeat(times);
            format!("(component (core module (func {nothing})))")
        };
        check(&module(MAX_FUNCTION - 2), Ok(()));
        check(
            &module(MAX_FUNCTION),
            Err("has a function of 1048578 bytes; at most 1048576 are compiled"),
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
