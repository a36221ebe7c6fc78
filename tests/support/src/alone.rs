//! Tests that measure their whole process.

use std::process::Command;

/// Set in the process of such a test.
const ALONE: &str = "FOREBAY_TEST_ALONE";

/// Does in a process of its own what the calling test does: other tests of the same program,
/// which run beside it, would be measured as well.
pub fn in_a_process_of_its_own(test: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return test();
    }
    let thread = std::thread::current();
    let name = thread.name().expect("a test's thread has its name");
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: see above");
}
