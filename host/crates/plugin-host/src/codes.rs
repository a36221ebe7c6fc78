//! Codes of rows on which a plugin failed, as `forebay.dead_letter` and policies see them.

/// The plugin trapped.
pub const TRAP: &str = "PLUGIN_TRAP";

/// The plugin missed its deadline.
pub const DEADLINE: &str = "PLUGIN_DEADLINE";

/// The plugin was refused memory or table elements during the call.
pub const MEMORY: &str = "PLUGIN_MEMORY";

/// The plugin returned `err`.
pub const ERROR: &str = "PLUGIN_ERROR";

/// The plugin's answer is invalid.
pub const OUTPUT: &str = "PLUGIN_OUTPUT";

/// All of these codes.
pub const ALL: [&str; 5] = [TRAP, DEADLINE, MEMORY, ERROR, OUTPUT];

/// Beginning of all of these codes.
pub const PREFIX: &str = "PLUGIN_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_codes_have_the_prefix() {
        assert!(ALL.iter().all(|code| code.starts_with(PREFIX)));
    }
}
