//! Named points at which a test can kill the process, as a power cut would.
//!
//! `FAILPOINTS="commit.after=6*off->return"` kills at the seventh commit. Without the feature
//! `fail/failpoints`, which only tests enable, a point compiles to nothing.

macro_rules! point {
    ($name:literal) => {
        fail::fail_point!($name, |_| crate::failpoints::die())
    };
}
pub(crate) use point;

/// Ends the process with SIGKILL: nothing is flushed or closed.
#[allow(dead_code, reason = "called from points, which only tests enable")]
pub(crate) fn die() -> ! {
    let sent = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
    // Not reached: the signal cannot be caught.
    std::process::exit(if sent.is_ok() { 137 } else { 1 })
}
