//! The layout of the source: layers, names and sizes, as docs/architecture.md states them.

// A helper that cannot go on ends its test.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the top; a module may use its own layer's folder and everything below.
const LAYERS: [&[&str]; 11] = [
    &["cli"],
    &["run"],
    &["source", "delivery"],
    &["sync"],
    &["state"],
    &["folders"],
    &["oauth"],
    &["imap"],
    &["net"],
    &["config"],
    &["process"],
];

/// Lines that a file may have without its unit tests.
const MAX_LINES: usize = 400;

/// A source file without its unit tests.
struct SourceFile {
    /// Below `src`, such as `sync/plan.rs`.
    path: String,
    code: String,
}

fn source_files() -> Vec<SourceFile> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![src.clone()];
    let mut paths: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                paths.push(path);
            }
        }
    }
    paths.sort();
    assert!(
        paths.len() > 50,
        "the source is not where it was: {paths:?}"
    );
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            SourceFile {
                path: path.strip_prefix(&src).unwrap().display().to_string(),
                code: code.to_owned(),
            }
        })
        .collect()
}

/// The number of a module's layer; base modules lie below all folders.
fn layer(module: &str) -> usize {
    let found = LAYERS.iter().position(|layer| layer.contains(&module));
    found.unwrap_or(LAYERS.len())
}

fn module_of(path: &str) -> &str {
    let first = path.split('/').next().unwrap();
    first.strip_suffix(".rs").unwrap_or(first)
}

/// The first segments of the `crate::` paths in the code, comments aside.
fn used_modules(code: &str) -> impl Iterator<Item = &str> {
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| {
        line.split("crate::").skip(1).map(|rest| {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            &rest[..end.unwrap_or(rest.len())]
        })
    })
}

#[test]
fn each_layer_uses_only_those_below_it() {
    let mut arrows_up = Vec::new();
    for file in source_files() {
        let own = module_of(&file.path);
        if own == "lib" || own == "main" {
            continue;
        }
        for used in used_modules(&file.code) {
            if used != own && layer(used) <= layer(own) && layer(own) < LAYERS.len() {
                arrows_up.push(format!("{} uses {used}", file.path));
            }
            if layer(own) == LAYERS.len() && layer(used) < LAYERS.len() {
                arrows_up.push(format!("{} uses {used}", file.path));
            }
        }
    }
    assert_eq!(arrows_up, Vec::<String>::new());
}

#[test]
fn no_two_types_share_a_name() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in source_files() {
        for line in file.code.lines() {
            let mut words = line.trim_start().split(' ').peekable();
            words.next_if(|word| word.starts_with("pub"));
            let Some("struct" | "enum" | "trait") = words.next() else {
                continue;
            };
            let name = words.next().unwrap_or_default();
            let end = name.find(|c: char| !c.is_alphanumeric());
            let name = &name[..end.unwrap_or(name.len())];
            places
                .entry(name.to_owned())
                .or_default()
                .push(file.path.clone());
        }
    }
    assert!(places.len() > 100, "types are not found any more");
    places.retain(|_, places| places.len() > 1);
    assert_eq!(places, BTreeMap::new());
}

#[test]
fn no_file_is_too_long_to_read() {
    let long: Vec<String> = source_files()
        .into_iter()
        .map(|file| (file.code.lines().count(), file.path))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    assert_eq!(long, Vec::<String>::new());
}
