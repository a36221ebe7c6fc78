//! Descriptors from files: `.proto` files are compiled here, sets were compiled by `protoc`.

use std::path::PathBuf;

use prost_reflect::{DescriptorPool, MethodDescriptor};

use super::problem::Problem;
use crate::config::Descriptors;

/// All descriptors of a source.
pub type Pool = DescriptorPool;

/// Maximum size of a file of descriptors, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// Loads descriptors from files; `None` if only the server has them.
///
/// # Errors
/// If a file cannot be read, or does not compile.
pub fn load(descriptors: &Descriptors) -> Result<Option<Pool>, Problem> {
    match descriptors {
        Descriptors::Proto(files, include) => pool_of_files(files, include).map(Some),
        Descriptors::Set(path) => set(path).map(Some),
        Descriptors::Reflection => Ok(None),
    }
}

/// Compiles `.proto` files.
///
/// # Errors
/// If one cannot be read, or does not compile.
pub fn pool_of_files(files: &[PathBuf], include: &[PathBuf]) -> Result<Pool, Problem> {
    let compiled = protox::Compiler::new(include).and_then(|mut compiler| {
        compiler.include_imports(true);
        // Comments are of use to a person, and to nobody here.
        compiler.include_source_info(false);
        compiler.open_files(files)?;
        Ok(compiler.descriptor_pool())
    });
    compiled.map_err(|error| {
        let mut message = error.to_string();
        if let Some(file) = error.file().filter(|file| !message.contains(*file)) {
            message = format!("{file}: {message}");
        }
        let hint = "correct the file; the directories that its imports are relative to are `source.proto_path`";
        Problem::new("proto", format!("does not compile: {message}"), hint)
    })
}

fn set(path: &PathBuf) -> Result<Pool, Problem> {
    let problem = |message: String| {
        let hint = "make it with `protoc --include_imports --descriptor_set_out=FILE`";
        Problem::new(
            "descriptors",
            format!("{}: {message}", path.display()),
            hint,
        )
    };
    let length = std::fs::metadata(path).map_err(|error| problem(error.to_string()))?;
    if length.len() > MAX_BYTES {
        return Err(problem("is larger than 64 MiB".into()));
    }
    let bytes = std::fs::read(path).map_err(|error| problem(error.to_string()))?;
    DescriptorPool::decode(bytes.as_slice())
        .map_err(|error| problem(format!("is no set of descriptors: {error}")))
}

/// The method of a name whose package and service may be left out.
pub(super) fn find(pool: &Pool, name: &str) -> Result<MethodDescriptor, Problem> {
    let wanted = name.trim_start_matches('/');
    let (service, method) = match wanted.rsplit_once(['/', '.']) {
        Some((service, method)) => (Some(service), method),
        None => (None, wanted),
    };
    let is_meant = |it: &MethodDescriptor| {
        let full = it.parent_service();
        let full = full.full_name();
        it.name() == method
            && service.is_none_or(|service| {
                full == service
                    || full
                        .strip_suffix(service)
                        .is_some_and(|before| before.ends_with('.'))
            })
    };
    let all: Vec<MethodDescriptor> = pool.services().flat_map(methods).collect();
    let mut found = all.iter().filter(|it| is_meant(it));
    match (found.next(), found.next()) {
        (Some(method), None) => Ok(method.clone()),
        (first, _) => {
            let names: Vec<String> = all
                .iter()
                .filter(|it| first.is_none() || is_meant(it))
                .take(20)
                .map(full_name)
                .collect();
            let message = match first {
                Some(_) => format!("`{name}` is the name of several methods"),
                None => format!("`{name}` is declared nowhere"),
            };
            let hint = format!("there are: {}", names.join(", "));
            Err(Problem::new("method", message, hint))
        }
    }
}

fn methods(service: prost_reflect::ServiceDescriptor) -> Vec<MethodDescriptor> {
    service.methods().collect()
}

/// `package.Service/Method`.
pub(super) fn full_name(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().full_name(), method.name())
}
