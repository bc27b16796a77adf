//! Checks of our own module: who may load it, whether it is there, whether it works.

use super::Finding;
use crate::module;
use crate::system::System;

/// Whether we may load and use the module.
pub(super) fn root() -> Finding {
    match module::require_root("trace") {
        Ok(()) => Finding::ok("root", "running as root"),
        Err(error) => Finding::problem("root", error.to_string(), ""),
    }
}

/// Whether the module is there for the running kernel.
pub(super) fn available(system: &System) -> Finding {
    const WHAT: &str = "module";
    let release = system.release();
    if module::is_loaded(system) {
        return Finding::ok(WHAT, format!("loaded in kernel {release}"));
    }
    if let Some(path) = std::env::var_os(module::MODULE_VARIABLE) {
        return Finding::ok(WHAT, format!("{}, named by {}", path.display(), module::MODULE_VARIABLE));
    }
    match module::installed(&system.modules()) {
        Some(path) => Finding::ok(WHAT, format!("{} is there to be loaded", path.display())),
        None => Finding::warning(
            WHAT,
            format!("none at the usual places in {}", system.modules().display()),
            format!("run: trapline module build, or name a built one: {}=PATH", module::MODULE_VARIABLE),
        ),
    }
}

/// Whether the module loads and proves that it catches faults. Loads it if it is not, as tracing
/// would.
pub(super) fn self_test(system: &System) -> Finding {
    const WHAT: &str = "self-test";
    if !module::is_loaded(system) && module::require_root("load the module").is_err() {
        return Finding::warning(
            WHAT,
            "not tried: the module is not loaded, and loading it takes root",
            "run as root",
        );
    }
    let outcome = module::open(system)
        .and_then(|device| module::info(&device))
        .and_then(|info| module::require_self_test(&info));
    match outcome {
        Ok(()) => Finding::ok(WHAT, "passed: the module catches and performs accesses on this kernel"),
        Err(error) => Finding::problem(WHAT, error.to_string(), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn an_installed_module_is_found_for_the_running_kernel_only() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("lib/modules/6.1.0-test/extra");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("trapline.ko"), "").unwrap();
        let level = |release| available(&System::at(root.path(), release)).level;
        assert_eq!(level("6.1.0-test"), Level::Ok);
        assert_eq!(level("6.12.0-test"), Level::Warning);
    }
}
