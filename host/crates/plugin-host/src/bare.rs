//! wasmtime with the settings of this host: what one engine of it compiles fits every other.

use wasmtime::{Config, Engine};

use super::limits::{MAX_STACK, MIN_STACK};

/// An engine whose calls have these bytes of stack.
///
/// # Errors
/// When the platform lacks something that the engine needs.
pub(super) fn bare(stack: usize) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.max_wasm_stack(stack.clamp(MIN_STACK, MAX_STACK));
    // Calls are plain functions: nothing is polled or resumed.
    config.concurrency_support(false);
    config.relaxed_simd_deterministic(true);
    Engine::new(&config)
}
