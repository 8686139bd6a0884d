//! Notes on stderr.

/// Says a line that is seen without `--nocapture` too.
pub fn note(line: &str) {
    use std::io::Write;
    // A closed stderr is no reason to fail.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
