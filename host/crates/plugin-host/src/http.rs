//! `wasi:http@0.2` for guests that import it, as the ordinary builds of some languages do. There is no
//! network, so every call traps and says so.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceType};

/// Beginning of the names of these interfaces.
pub(super) const HTTP: &str = "wasi:http/";

/// The resources that the package defines. Others that it names, such as streams, are those of
/// `wasi:io`.
const RESOURCES: [&str; 10] = [
    "fields",
    "incoming-request",
    "outgoing-request",
    "request-options",
    "response-outparam",
    "incoming-response",
    "incoming-body",
    "outgoing-body",
    "future-trailers",
    "future-incoming-response",
];

/// Stands for the resources: none is ever made.
struct Never;

/// Returns a linker with the functions of `wasi:http` that a component imports; `None` if it imports
/// none.
pub(super) fn linked<T: 'static>(
    linker: &Linker<T>,
    component: &Component,
) -> wasmtime::Result<Option<Linker<T>>> {
    let mut extended = None;
    let ty = component.component_type();
    let engine = component.engine();
    for (interface, import) in ty.imports(engine) {
        let ComponentItem::ComponentInstance(instance) = import.ty else {
            continue;
        };
        if !interface.starts_with(HTTP) {
            continue;
        }
        let linker = extended.get_or_insert_with(|| linker.clone());
        let mut linked = linker.instance(interface)?;
        for (name, export) in instance.exports(engine) {
            match export.ty {
                ComponentItem::ComponentFunc(_) => {
                    let called = format!("{interface}#{name}");
                    linked.func_new(name, move |_, _, _, _| {
                        wasmtime::bail!("called `{called}`: plugins have no network")
                    })?;
                }
                ComponentItem::Resource(_) if RESOURCES.contains(&name) => {
                    linked.resource(name, ResourceType::host::<Never>(), |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(extended)
}
