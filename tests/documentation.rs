//! What the documentation names exists, and what it quotes is what the program prints.

// A helper that cannot go on ends its test.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    assert!(path.is_file(), "{}", path.display());
    fs::read_to_string(path).unwrap()
}

/// Files below a folder of the repository with one of these endings.
fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut folders = vec![root().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with(".git") {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The lines outside of code blocks.
fn prose(text: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut lines: Vec<&str> = text.lines().collect();
    lines.retain(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines
}

/// The anchors of the headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
            kept.map(|letter| if letter == ' ' { '-' } else { letter })
                .collect()
        })
        .collect()
}

/// What stands between two strings, each time.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(begin)
        && let Some((inner, after)) = after.split_once(end)
    {
        found.push(inner);
        rest = after;
    }
    found
}

/// The text outside of code blocks. A link or a name may be broken by a new line.
fn prose_text(page: &Path) -> String {
    prose(&read(page)).join("\n")
}

#[test]
fn each_link_leads_to_a_file_and_a_heading() {
    let mut seen = 0;
    for page in files(".", &[".md"]) {
        for link in between(&prose_text(&page), "](", ")") {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let to = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            assert!(to.exists(), "{}: {link}", page.display());
            if !anchor.is_empty() {
                let anchors = anchors(&read(&to));
                assert!(
                    anchors.contains(anchor),
                    "{}: {link}: {anchors:?}",
                    page.display()
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn each_file_and_each_test_that_the_documentation_names_exists() {
    let code: String = ["src", "tests"]
        .into_iter()
        .flat_map(|folder| files(folder, &[".rs"]))
        .map(read)
        .collect();
    let mut seen = (0, 0);
    for page in files(".", &[".md"]) {
        let text = prose_text(&page);
        for name in between(&text, "`", "`") {
            let folders = ["src/", "tests/", "contrib/", "docs/", "systemd/"];
            let is_path = folders.iter().any(|folder| name.starts_with(folder))
                && !name.contains([' ', '*', '\n', '…']);
            if is_path {
                let path = name.split_once(':').map_or(name, |(path, _)| path);
                assert!(root().join(path).exists(), "{}: {name}", page.display());
                seen.0 += 1;
            }
        }
        // The table of invariants names the test of each.
        let rows = text.lines().filter(|line| {
            let mut cells = line.split('|').skip(1);
            cells
                .next()
                .is_some_and(|cell| cell.trim().parse::<u32>().is_ok())
        });
        for name in rows.flat_map(|row| between(row, "`", "`")) {
            let is_test = name.matches('_').count() >= 2
                && name
                    .chars()
                    .all(|letter| letter.is_alphanumeric() || letter == '_');
            if is_test {
                assert!(
                    code.contains(&format!("fn {name}(")),
                    "{}: {name}",
                    page.display()
                );
                seen.1 += 1;
            }
        }
    }
    assert!(seen.0 > 10 && seen.1 > 20, "{seen:?}");
}

/// String literals that go on in the next line are put together.
fn source_text() -> String {
    let text: String = files("src", &[".rs"]).into_iter().map(read).collect();
    let mut joined = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("\\\n") {
        joined.push_str(before);
        rest = after.trim_start();
    }
    joined.push_str(rest);
    joined.replace("\\\"", "\"")
}

#[test]
fn each_error_line_that_the_documentation_explains_is_one_of_the_program() {
    let text = read("docs/troubleshooting.md");
    let (_, lines) = text.split_once("## By error line").unwrap();
    let (lines, _) = lines.split_once("\n## ").unwrap();
    let source = source_text();
    let mut seen = 0;
    for line in lines.lines().filter_map(|line| line.strip_prefix("| `")) {
        let (quoted, _) = line.split_once("` |").unwrap();
        for part in quoted
            .split('…')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            assert!(source.contains(part), "{quoted}: no {part:?} in src");
        }
        seen += 1;
    }
    assert!(seen > 25, "{seen}");
}

/// The program's own list of the options of a command.
fn options(command: &[&str]) -> BTreeSet<String> {
    let program = env!("CARGO_BIN_EXE_imap-to-gmail-sync");
    let help = Command::new(program).args(command).arg("--help").output();
    let help = String::from_utf8(help.unwrap().stdout).unwrap();
    let (_, listed) = help.split_once("Options:").unwrap();
    listed
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--"))
        .filter_map(|line| line.split_whitespace().next())
        .map(|name| format!("--{name}"))
        .collect()
}

#[test]
fn each_option_is_in_the_pages_of_its_command() {
    for (command, pages) in [
        (&[][..], &["docs/running.md"][..]),
        (&["auth"], &["docs/token.md"]),
        (&["check"], &["docs/troubleshooting.md"]),
        (&["status"], &["docs/troubleshooting.md"]),
    ] {
        let text: String = pages.iter().map(read).collect();
        let options = options(command);
        assert!(options.len() > 5, "{command:?}: {options:?}");
        for option in options.iter().filter(|option| *option != "--help") {
            assert!(text.contains(&format!("`{option}")), "{pages:?}: {option}");
        }
    }
}

#[test]
fn each_field_of_the_configuration_is_in_its_page() {
    let code: String = ["src/config/validate.rs", "src/config/folders.rs"]
        .map(|file| read(file).split_once("mod tests").unwrap().0.to_owned())
        .concat();
    let is_field = |name: &&str| {
        ["source_", "target_"]
            .iter()
            .any(|side| name.starts_with(side))
            && name
                .chars()
                .all(|letter| letter.is_ascii_lowercase() || letter == '_')
    };
    let fields: BTreeSet<&str> = code.split('"').filter(is_field).collect();
    assert!(fields.len() > 15, "{fields:?}");
    let page = read("docs/configuration.md");
    for field in fields {
        assert!(page.contains(&format!("`{field}`")), "{field}");
    }
}
