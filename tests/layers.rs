//! Imports point downward only: the architecture of docs/architecture.md, read off the source.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Each layer and the layers it may use besides itself.
const MAY_USE: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("lib", &[]),
    ("cli", &["app", "config", "domain", "store"]),
    ("app", &["config", "http", "accounts", "store", "hashing", "tokens", "pool", "domain"]),
    ("config", &["http", "accounts", "store", "hashing", "tokens", "domain"]),
    ("http", &["accounts", "limits", "domain"]),
    ("accounts", &["store", "hashing", "tokens", "pool", "limits", "domain"]),
    ("store", &["pool", "domain"]),
    ("hashing", &["pool", "domain"]),
    ("tokens", &["domain"]),
    ("pool", &["domain"]),
    ("limits", &[]),
    ("domain", &[]),
];

/// actix's actors are at home in these files; everything else reaches them through `Pool` and `Services`.
const MAY_USE_ACTORS: &[&str] = &[
    "pool/mod.rs",
    "store/mod.rs",
    "store/users.rs",
    "store/budgets.rs",
    "store/sessions.rs",
    "store/purge.rs",
    "store/signing_keys.rs",
    "store/standings.rs",
    "hashing/mod.rs",
    "accounts/mod.rs",
    "accounts/authenticator.rs",
];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The words that follow `prefix` in the code, comments aside: `crate::store::users` names `store`.
fn named_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        // `use crate::{a::b, c}` names several.
        let names_here = match rest.strip_prefix('{') {
            Some(list) => split_top_level(list),
            None => vec![rest],
        };
        for name in names_here {
            let word: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            names.insert(word);
        }
    }
    names.remove("");
    names
}

/// The parts of a list up to its closing brace, split at commas outside inner braces.
fn split_top_level(list: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts
}

#[test]
fn imports_point_downward_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut complaints = Vec::new();
    let mut seen = BTreeSet::new();
    for path in sources(&src) {
        let file = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        let layer = file.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == layer) else {
            complaints.push(format!("{file} belongs to no layer"));
            continue;
        };
        let code = std::fs::read_to_string(&path).unwrap();
        let own_name = if layer == "main" { "tegata::" } else { "crate::" };
        for used in named_after(&code, own_name) {
            seen.insert((layer.clone(), used.clone()));
            if used != layer && !allowed.contains(&used.as_str()) {
                complaints.push(format!("{file} may not use {used}"));
            }
        }
        if code.contains("use actix::") && !MAY_USE_ACTORS.contains(&file.as_str()) {
            complaints.push(format!("{file} may not use actix actors"));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    // A check that reads nothing would be content with everything.
    for (layer, used) in [("http", "accounts"), ("accounts", "store"), ("store", "pool"), ("main", "cli")] {
        assert!(
            seen.contains(&(layer.to_owned(), used.to_owned())),
            "{layer} uses {used}, and the check did not see it"
        );
    }
}

#[test]
fn the_check_reads_every_form_of_import() {
    let code = "use crate::store::users;\n// crate::comment\nuse crate::{app, http::{a, b}, pool};\nfn f() { crate::config::x() }";
    let names: Vec<_> = named_after(code, "crate::").into_iter().collect();
    assert_eq!(names, ["app", "config", "http", "pool", "store"]);
}

/// One file, one job: what grows beyond a few screens has more than one.
#[test]
fn no_file_is_longer_than_it_should_be() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in sources(&root.join("src")).into_iter().chain(sources(&root.join("tests"))) {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 450, "{} has {lines} lines: is there a noun to split it by?", path.display());
    }
}
