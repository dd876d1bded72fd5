//! Where the values of settings come from: the process's environment, a `.env` file, and files that hold one secret.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use crate::config::reference::SETTINGS;

/// All values that were given, by name; the environment wins over the file `dotenv`, which need not exist.
pub(super) fn read(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    dotenv: &Path,
    problems: &mut Vec<String>,
) -> BTreeMap<String, String> {
    let mut values = read_dotenv(dotenv, problems);
    for (name, value) in environment {
        let Some(name) = name.to_str().filter(|name| is_known(name)) else { continue };
        match value.into_string() {
            Ok(value) => {
                values.insert(name.to_owned(), value);
            }
            Err(_) => problems.push(format!("{name} is not valid UTF-8")),
        }
    }
    read_secret_files(&mut values, problems);
    // An empty value is how compose files and shells spell "not set".
    values.retain(|_, value| !value.is_empty());
    values
}

fn is_known(name: &str) -> bool {
    SETTINGS
        .iter()
        .any(|setting| name == setting.name || setting.is_secret && name.strip_suffix("_FILE") == Some(setting.name))
}

/// Reads the file. Names that nearly are settings are mistakes; others are left alone, as compose keeps its own there.
fn read_dotenv(path: &Path, problems: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let file = path.display();
    let lines = match dotenvy::from_path_iter(path) {
        Ok(lines) => lines,
        Err(error) if error.not_found() => return values,
        Err(_) => {
            problems.push(format!("{file} cannot be read"));
            return values;
        }
    };
    for line in lines {
        match line {
            Ok((name, value)) if is_known(&name) => {
                if values.insert(name.clone(), value).is_some() {
                    problems.push(format!("{name} is in {file} twice"));
                }
            }
            Ok((name, _)) => {
                if let Some(meant) = nearly(&name) {
                    problems.push(format!("{name} in {file} is not a setting; is {meant} meant?"));
                }
            }
            // The error holds the whole line, and a line may hold a secret: only its name is told.
            Err(dotenvy::Error::LineParse(line, _)) => {
                let name = line.split_once('=').map_or("a line", |(name, _)| name.trim());
                problems.push(format!("{name} in {file} cannot be parsed; put the value in 'single quotes'"));
            }
            Err(_) => problems.push(format!("{file} cannot be read to its end; is it UTF-8?")),
        }
    }
    values
}

/// The setting that an unknown name may be a misspelling of.
fn nearly(name: &str) -> Option<&'static str> {
    let name = name.to_uppercase();
    SETTINGS.iter().map(|setting| setting.name).find(|known| strsim::damerau_levenshtein(&name, known) <= 2)
}

/// Replaces `NAME_FILE` by `NAME` with the file's content, without the newline at its end.
fn read_secret_files(values: &mut BTreeMap<String, String>, problems: &mut Vec<String>) {
    for setting in SETTINGS.iter().filter(|setting| setting.is_secret) {
        let name = setting.name;
        let Some(path) = values.remove(&format!("{name}_FILE")).filter(|path| !path.is_empty()) else { continue };
        if values.get(name).is_some_and(|value| !value.is_empty()) {
            problems.push(format!("{name} and {name}_FILE are both set; one is enough"));
            continue;
        }
        match std::fs::read_to_string(&path) {
            Ok(content) => {
                values.insert(name.to_owned(), content.trim_end_matches(['\r', '\n']).to_owned());
            }
            Err(error) => problems.push(format!("{name}_FILE: {path}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_are_found() {
        assert_eq!(nearly("SECRET_KEYS"), Some("SECRET_KEY"));
        assert_eq!(nearly("DATABASE_URI"), Some("DATABASE_URL"));
        assert_eq!(nearly("secret_key"), Some("SECRET_KEY"));
        assert_eq!(nearly("MYSQL_ROOT_PASSWORD"), None);
    }
}
