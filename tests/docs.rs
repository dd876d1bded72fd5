//! What the documents say is what the code does.

mod database;
mod process;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use database::TestDatabase;
use process::Server;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_default()
}

/// Writes the page anew when it is stale, and says so: run it again and commit the page.
#[test]
fn the_reference_of_settings_is_current() {
    let current = tegata::config::reference();
    if read("docs/configuration.md") != current {
        std::fs::write(path("docs/configuration.md"), current).unwrap();
        panic!("docs/configuration.md was stale and has been written anew: look at it and commit it");
    }
}

#[test]
fn the_readme_names_its_two_commands_and_each_document_exists() {
    let readme = read("README.md");
    for command in ["cargo run --release", "./scripts/test.sh"] {
        assert!(readme.contains(command), "{command}");
    }
    for page in [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs/architecture.md",
        "docs/operations.md",
        "docs/security.md",
    ] {
        let text = read(page);
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path(page) } else { path(page).parent().unwrap().join(file) };
            assert!(target.exists(), "{page} links to {link}, which is not there");
            if !heading.is_empty() {
                let known = headings(&std::fs::read_to_string(&target).unwrap());
                assert!(known.iter().any(|known| known == heading), "{page} links to {link}; there is {known:?}");
            }
        }
    }
}

/// The headings of a page as links name them.
fn headings(page: &str) -> Vec<String> {
    let is_heading = |line: &&str| line.starts_with('#') && line.trim_start_matches('#').starts_with(' ');
    let name = |line: &str| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>().replace(' ', "-")
    };
    page.lines().filter(is_heading).map(name).collect()
}

/// A setting that is written wrong, or that is no more, would be ignored by the server without a word.
#[test]
fn the_documents_name_settings_that_exist() {
    const OTHERS: &[&str] = &["AF_INET", "AF_INET6", "AF_UNIX", "TIMING_SCRYPT_LOG_N", "UNIX_TIMESTAMP"];
    let reference = tegata::config::reference();
    for page in ["README.md", "docs/operations.md", "docs/security.md"] {
        let text = read(page);
        let is_name = |word: &&str| {
            word.contains('_')
                && word.starts_with(|c: char| c.is_ascii_uppercase())
                && !word.contains(|c: char| c.is_ascii_lowercase())
        };
        let names: Vec<_> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(is_name).collect();
        assert!(names.len() > 3, "{page}");
        for name in names.into_iter().filter(|name| !OTHERS.contains(name)) {
            assert!(reference.contains(&format!("`{name}`")), "{page} names {name}, which is no setting");
        }
    }
}

/// Whoever is woken by an alert finds what to do, and nothing is explained that does not exist.
#[test]
fn each_alert_has_its_section() {
    let rules = read("docs/monitoring/alerts.yml");
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let page = read("docs/operations.md");
    let section = page.split("\n## Alerts\n").nth(1).unwrap();
    let mut explained: Vec<_> = section.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert!(alerts.len() > 10);
    for alert in alerts {
        let at = explained.iter().position(|known| *known == alert);
        explained.remove(at.unwrap_or_else(|| panic!("docs/operations.md does not explain {alert}")));
    }
    assert!(explained.is_empty(), "there is no alert {explained:?}");
}

/// What the page on security says is shown by a test is shown by one.
#[test]
fn each_test_that_the_page_on_security_names_exists() {
    let page = read("docs/security.md");
    let quoted = page.split('`').skip(1).step_by(2);
    let is_name = |word: &&str| {
        word.matches('_').count() >= 2 && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let shorter = ["other_headers", "other_keys", "other_times", "other_claims"];
    let names: BTreeSet<_> = quoted.filter(|word| is_name(word) || shorter.contains(word)).collect();
    assert!(names.len() > 40, "{names:?}");
    let code: String = ["src", "tests"].iter().flat_map(|dir| sources(&path(dir))).map(|file| read(&file)).collect();
    for name in names {
        let is_test = ["#[test]\n", "#[actix_web::test]\n"].iter().any(|mark| {
            code.split(mark).skip(1).any(|after| {
                let function = after.split_once("fn ").map_or("", |(_, rest)| rest);
                function.strip_prefix(name).is_some_and(|rest| rest.starts_with('('))
            })
        });
        assert!(is_test, "docs/security.md names `{name}`, which is no test");
    }
}

/// All files of Rust in a directory and below.
fn sources(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|entry| match entry.is_dir() {
        true => sources(&entry),
        false => vec![entry.to_str().unwrap().to_owned()],
    });
    files.filter(|file| file.ends_with(".rs")).collect()
}

/// The container's build: what the Dockerfile copies is let through by .dockerignore, and cargo can read the manifest
/// with that and nothing else around it.
#[test]
fn what_the_dockerfile_copies_is_enough_for_cargo() {
    let database = TestDatabase::create();
    let dockerfile = read("Dockerfile");
    let build_stage = dockerfile.split("\nFROM ").nth(1).unwrap();
    for line in build_stage.lines().filter_map(|line| line.strip_prefix("COPY ")) {
        let words: Vec<_> = line.split_whitespace().collect();
        for name in &words[..words.len() - 1] {
            assert!(read(".dockerignore").contains(&format!("!{name}\n")), "{name} does not reach the build");
            let copied = Command::new("cp").arg("-r").arg(path(name)).arg(&database.dir).status().unwrap();
            assert!(copied.success(), "{name}");
        }
    }
    let metadata = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = Command::new(env!("CARGO")).args(metadata).current_dir(&database.dir).output().unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let targets = metadata["packages"][0]["targets"].as_array().unwrap();
    assert!(targets.len() >= 3, "{targets:?}");
    for target in targets {
        // cargo builds nothing when the file of any target that the manifest names is missing.
        assert!(Path::new(target["src_path"].as_str().unwrap()).exists(), "{target} is missing in the build");
    }
}

/// The README's session, line by line: the commands as they stand there, against a fresh server, and the answers but
/// for what differs each time.
#[test]
fn the_readmes_session_answers_as_it_says() {
    let database = TestDatabase::create();
    let server = Server::start(&database.dir, &[]);
    let readme = read("README.md");
    // One after the other, in one shell: what one has set is there in the next.
    let sessions: Vec<_> = readme.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let session = sessions.concat();
    let (mut script, mut expected) = (String::from("set -e\n"), String::new());
    for line in session.lines() {
        match line.strip_prefix("$ ") {
            Some(command) if command.starts_with("curl") => script += &format!("{command}; echo\n"),
            Some(command) => script += &format!("{command}\n"),
            None => expected += &format!("{line}\n"),
        }
    }
    let script = script.replace("http://127.0.0.1:8000", &server.url(""));
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answered = String::from_utf8(output.stdout).unwrap();
    assert!(sessions.len() >= 2 && expected.lines().count() >= 9);
    assert_eq!(without_what_varies(&answered), without_what_varies(&expected));
}

/// Replaces the values of `access_token`, `refresh_token` and `request_id`.
fn without_what_varies(text: &str) -> String {
    let mut text = text.to_owned();
    for name in ["access_token", "refresh_token", "request_id"] {
        let key = format!("\"{name}\":\"");
        let mut kept = String::new();
        let mut pieces = text.split(key.as_str());
        kept += pieces.next().unwrap();
        for piece in pieces {
            let (value, rest) = piece.split_once('"').unwrap();
            assert!(!value.is_empty());
            kept += &format!("{key}...\"{rest}");
        }
        text = kept;
    }
    text
}
