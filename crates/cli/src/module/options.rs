//! What a kernel must have been built with for the module to load and to hook.

/// Its options, each needed as `y`.
pub(crate) const NEEDED: [&str; 4] =
    ["CONFIG_MODULES", "CONFIG_DYNAMIC_FTRACE_WITH_REGS", "CONFIG_KALLSYMS", "CONFIG_MMIOTRACE"];

/// Those that a configuration does not have.
pub(crate) fn missing(config: &str) -> Vec<&'static str> {
    let is_on = |option: &str| config.lines().any(|line| line.strip_prefix(option) == Some("=y"));
    NEEDED.into_iter().filter(|option| !is_on(option)).collect()
}
