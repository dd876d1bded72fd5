//! What the documents say is what the code does.

use std::path::{Path, PathBuf};

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
    for page in ["README.md", "CONTRIBUTING.md", "docs/architecture.md"] {
        let (text, dir) = (read(page), path(page));
        let dir = dir.parent().unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()) {
            let is_local = !link.is_empty() && !link.contains("://");
            assert!(!is_local || dir.join(link).exists(), "{page} links to {link}, which is not there");
        }
    }
}
