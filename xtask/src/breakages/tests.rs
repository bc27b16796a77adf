//! What must hold of the breakages themselves, without building anything.

use std::fs;

use super::*;
use crate::{scenarios, workspace};

#[test]
fn every_row_has_a_breakage_and_every_breakage_a_row() {
    let (rows, all) = (rows::read().unwrap(), breakage::read().unwrap());
    let without: Vec<&str> = rows
        .iter()
        .filter(|row| all.iter().all(|breakage| breakage.row != row.name))
        .map(|row| &*row.name)
        .collect();
    assert!(
        without.is_empty(),
        "rows of docs/soundness.md without a file in breakages/: {}",
        without.join(", ")
    );
    for breakage in all {
        assert!(
            rows.iter().any(|row| row.name == breakage.row),
            "breakages/{}.toml: docs/soundness.md has no row `{}`",
            breakage.name,
            breakage.row
        );
    }
}

#[test]
fn every_breakage_applies_to_the_tree_as_it_is() {
    let errors: Vec<String> = breakage::read()
        .unwrap()
        .iter()
        .filter_map(|breakage| Some((&breakage.name, breakage.applied(workspace::root()).err()?)))
        .map(|(name, error)| format!("breakages/{name}.toml: {error:#}"))
        .collect();
    assert!(errors.is_empty(), "the code has changed, and these must follow:\n{}", errors.join("\n"));
}

#[test]
fn every_breakage_names_a_test_that_exists() {
    let scenarios: Vec<String> = scenarios::runs().iter().map(ToString::to_string).collect();
    let sources: Vec<String> = workspace::files()
        .unwrap()
        .iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .map(|file| fs::read_to_string(workspace::root().join(file)).unwrap())
        .collect();
    for Breakage { name, test, .. } in breakage::read().unwrap() {
        let exists = match &test {
            Test::Scenario(scenario) => scenarios.contains(scenario),
            Test::Command(line) => {
                // The last word is the test's name with its modules.
                let function = format!("fn {}(", line.rsplit([' ', ':']).next().unwrap_or_default());
                line.contains("cargo test ") && sources.iter().any(|text| text.contains(&function))
            }
        };
        assert!(exists, "breakages/{name}.toml: there is no such test: {test}");
    }
}

/// Tests are run by their exact names, which begin with the module.
#[test]
fn a_test_of_a_program_that_is_made_of_modules_is_named_with_its_module() {
    let files = workspace::files().unwrap();
    for Breakage { name, test, .. } in breakage::read().unwrap() {
        let Test::Command(line) = &test else { continue };
        let Some((_, rest)) = line.split_once(" --test ") else { continue };
        let (program, path) = rest.split_once(' ').unwrap();
        let main = format!("tests/{program}/main.rs");
        let Some(main) = files.iter().find(|file| file.ends_with(&main)) else { continue };
        let file = match path.split_once("::") {
            Some((module, _)) => main.with_file_name(format!("{module}.rs")),
            None => main.clone(),
        };
        let text = fs::read_to_string(workspace::root().join(&file)).unwrap_or_default();
        let function = format!("fn {}(", path.rsplit("::").next().unwrap_or_default());
        assert!(text.contains(&function), "breakages/{name}.toml: {} lacks `{function}`", file.display());
    }
}

#[test]
fn rows_and_breakages_can_be_chosen_by_name() {
    let (rows, all) = (rows::read().unwrap(), breakage::read().unwrap());
    let one = all[0].clone();
    for name in [&one.name, &one.row] {
        let chosen = choose(std::slice::from_ref(name), &rows, all.clone()).unwrap();
        assert!(chosen.iter().any(|breakage| breakage.name == one.name), "{name}");
        assert!(chosen.len() < all.len(), "{name}");
    }
    let error = choose(&["no such row".to_owned()], &rows, all).unwrap_err().to_string();
    assert!(error.contains("`no such row`") && error.contains("--list"), "{error}");
}
