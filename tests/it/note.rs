//! Notes of a test run on stderr.

/// Prints a line that the test harness does not capture.
pub fn note(line: &str) {
    use std::io::Write;
    // A test must not fail because stderr is closed.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
