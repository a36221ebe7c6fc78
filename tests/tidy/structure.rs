//! Who imports whom, and how long functions are, read from the syntax of the sources.
//!
//! A name that a module only hands on (`pub use`) counts for the file that defines it, so the face
//! of a room ties its files to nothing. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{Attribute, Item, UseTree, Visibility, visit};

/// A module by its path below the crate's root; the root itself is empty.
pub(crate) type Module = Vec<String>;

/// Of a file, the names that it takes from others.
pub(crate) type Imports = BTreeMap<Module, BTreeMap<Module, BTreeSet<String>>>;

/// A function's place, and its lines.
pub(crate) type Length = (String, usize);

struct File {
    /// What it imports under a name, and whether it hands that name on.
    names: Vec<(String, Vec<String>, bool)>,
    /// Paths that it writes out.
    paths: BTreeSet<Vec<String>>,
    /// What it defines.
    defined: BTreeSet<String>,
}

/// The files of a crate, parsed.
pub(crate) struct Sources {
    files: BTreeMap<Module, File>,
    /// All functions, by file.
    pub(crate) functions: Vec<Length>,
}

impl Sources {
    /// Parses all of `root`, the folder of a crate's `lib.rs`.
    pub(crate) fn read(root: &Path) -> Self {
        let mut sources = Self {
            files: BTreeMap::new(),
            functions: Vec::new(),
        };
        sources.folder(root, &[]);
        assert!(sources.files.len() > 3, "no sources in {}", root.display());
        sources
    }

    fn folder(&mut self, folder: &Path, module: &[String]) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let inner = [module, std::slice::from_ref(&name)].concat();
            if path.is_dir() {
                self.folder(&path, &inner);
            } else if path.extension().is_some_and(|it| it == "rs") && name != "tests" {
                let module = if name == "lib" || name == "main" {
                    module.to_vec()
                } else {
                    inner
                };
                self.file(&path, module);
            }
        }
    }

    fn file(&mut self, path: &Path, module: Module) {
        let syntax = syn::parse_file(&fs::read_to_string(path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut reader = Reader {
            file: File {
                names: Vec::new(),
                paths: BTreeSet::new(),
                defined: BTreeSet::new(),
            },
            functions: Vec::new(),
        };
        reader.visit_file(&syntax);
        let place = module.join("/");
        let functions = reader.functions.into_iter();
        self.functions
            .extend(functions.map(|(name, lines)| (format!("{place}: {name}"), lines)));
        if !module.is_empty() {
            self.files.insert(module, reader.file);
        }
    }

    /// What each file takes from which.
    pub(crate) fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for (module, file) in &self.files {
            let used = file.names.iter().filter(|(_, _, public)| !public);
            let used = used.map(|(_, path, _)| path).chain(&file.paths);
            for path in used {
                let Some((from, name)) = self.find(module, path, 0) else {
                    continue;
                };
                // A module alone is nothing that is taken; what is taken from it is a path.
                if from != *module && !from.is_empty() && !name.is_empty() {
                    let taken = imports.entry(module.clone()).or_default();
                    taken.entry(from).or_default().insert(name);
                }
            }
        }
        imports
    }

    /// The file that defines what a path names, and the name.
    fn find(&self, module: &Module, path: &[String], depth: usize) -> Option<(Module, String)> {
        let (mut at, mut rest) = self.start(module, path, depth)?;
        while let Some((first, after)) = rest.split_first() {
            let inner = [at.as_slice(), std::slice::from_ref(first)].concat();
            if !self.files.contains_key(&inner) {
                break;
            }
            at = inner;
            rest = after.to_vec();
        }
        let Some(name) = rest.first() else {
            return Some((at, String::new()));
        };
        let file = self.files.get(&at)?;
        let handed_on = file.names.iter().find(|(handed, _, _)| handed == name);
        match handed_on.filter(|_| depth < 8 && !file.defined.contains(name)) {
            Some((_, path, _)) => {
                let path = [path.as_slice(), rest.get(1..).unwrap_or_default()].concat();
                self.find(&at, &path, depth + 1)
                    .or(Some((at, name.clone())))
            }
            None => Some((at, name.clone())),
        }
    }

    /// Where a path begins, and what is left of it; `None` where that is another crate.
    fn start(
        &self,
        module: &Module,
        path: &[String],
        depth: usize,
    ) -> Option<(Module, Vec<String>)> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some((Module::new(), rest.to_vec())),
            "self" => Some((module.clone(), rest.to_vec())),
            "super" => {
                let parent = module.split_last().map(|(_, parent)| parent.to_vec())?;
                let next = rest.first().is_some_and(|it| it == "super");
                if next {
                    self.start(&parent, rest, depth)
                } else {
                    Some((parent, rest.to_vec()))
                }
            }
            first => {
                let inner = [module.as_slice(), &[first.to_owned()]].concat();
                if self.files.contains_key(&inner) {
                    return Some((module.clone(), path.to_vec()));
                }
                let file = self.files.get(module)?;
                let (_, named, _) = file.names.iter().find(|(name, _, _)| name == first)?;
                (depth < 8 && named.first()? != first)
                    .then(|| self.start(module, &[named, rest].concat(), depth + 1))?
            }
        }
    }
}

/// Reads one file.
struct Reader {
    file: File,
    functions: Vec<Length>,
}

impl Reader {
    fn function(&mut self, name: &syn::Ident, whole: &impl Spanned, attributes: &[Attribute]) {
        let documented = attributes.iter().map(|it| it.span().end().line).max();
        let start = whole.span().start().line;
        let start = documented.map_or(start, |end| end + 1);
        let lines = whole.span().end().line + 1 - start;
        self.functions.push((name.to_string(), lines));
    }

    fn tree(&mut self, tree: &UseTree, before: &[String], public: bool) {
        match tree {
            UseTree::Path(path) => {
                let before = [before, &[path.ident.to_string()]].concat();
                self.tree(&path.tree, &before, public);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.tree(tree, before, public);
                }
            }
            UseTree::Name(name) if name.ident == "self" => self.name(before, None, public),
            UseTree::Name(name) => {
                self.name(&[before, &[name.ident.to_string()]].concat(), None, public);
            }
            UseTree::Rename(renamed) => {
                let path = [before, &[renamed.ident.to_string()]].concat();
                self.name(&path, Some(renamed.rename.to_string()), public);
            }
            UseTree::Glob(_) => self.name(&[before, &["*".to_owned()]].concat(), None, public),
        }
    }

    fn name(&mut self, path: &[String], renamed: Option<String>, public: bool) {
        let name = renamed.unwrap_or_else(|| path.last().unwrap().clone());
        self.file.names.push((name, path.to_vec(), public));
    }

    /// Macros are not parsed: paths are found among their tokens.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if colons == 2 => path.push(ident.to_string()),
                TokenTree::Ident(ident) => {
                    self.path(std::mem::take(&mut path));
                    path.push(ident.to_string());
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                other => {
                    self.path(std::mem::take(&mut path));
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
            colons = 0;
        }
        self.path(path);
    }

    fn path(&mut self, path: Vec<String>) {
        if path.len() > 1 {
            self.file.paths.insert(path);
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let text = attribute.to_token_stream().to_string();
        text.contains("cfg (test)") || text == "# [test]"
    })
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        let (name, attributes) = match item {
            Item::Fn(it) => (Some(&it.sig.ident), &it.attrs),
            Item::Mod(it) => (None, &it.attrs),
            Item::Struct(it) => (Some(&it.ident), &it.attrs),
            Item::Enum(it) => (Some(&it.ident), &it.attrs),
            Item::Trait(it) => (Some(&it.ident), &it.attrs),
            Item::Type(it) => (Some(&it.ident), &it.attrs),
            Item::Const(it) => (Some(&it.ident), &it.attrs),
            Item::Static(it) => (Some(&it.ident), &it.attrs),
            Item::Use(it) => {
                if !is_test(&it.attrs) {
                    self.tree(&it.tree, &[], !matches!(it.vis, Visibility::Inherited));
                }
                return;
            }
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            if let Item::Fn(function) = item {
                self.function(&function.sig.ident, function, attributes);
            }
            self.file.defined.extend(name.map(ToString::to_string));
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.function(&function.sig.ident, function, &function.attrs);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|it| it.ident.to_string());
        self.path(segments.collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, written: &'ast syn::Macro) {
        self.tokens(written.tokens.clone());
        visit::visit_macro(self, written);
    }
}

/// Groups of files that import each other in a circle, each with what ties it.
pub(crate) fn circles(imports: &Imports) -> Vec<Vec<String>> {
    let reach: BTreeMap<&Module, BTreeSet<&Module>> = imports
        .keys()
        .map(|module| (module, reachable(imports, module)))
        .collect();
    let mut circles = BTreeMap::<Vec<&Module>, Vec<String>>::new();
    for (module, taken) in imports {
        for (from, names) in taken {
            if reach.get(from).is_some_and(|it| it.contains(module)) {
                let mut members: Vec<&Module> = reach[module]
                    .iter()
                    .copied()
                    .filter(|it| reach.get(it).is_some_and(|it| it.contains(module)))
                    .collect();
                members.sort();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let tie = format!(
                    "{} -> {} ({})",
                    module.join("/"),
                    from.join("/"),
                    names.join(", ")
                );
                circles.entry(members).or_default().push(tie);
            }
        }
    }
    circles.into_values().collect()
}

fn reachable<'a>(imports: &'a Imports, from: &'a Module) -> BTreeSet<&'a Module> {
    let (mut found, mut waiting) = (BTreeSet::new(), vec![from]);
    while let Some(module) = waiting.pop() {
        for next in imports.get(module).into_iter().flat_map(BTreeMap::keys) {
            if found.insert(next) {
                waiting.push(next);
            }
        }
    }
    found
}
