//! The function's log.

use std::io::{self, Write};

use lambda_runtime::tracing::subscriber::fmt::MakeWriter;

use crate::printable::printable;

/// A writer of log lines that makes each line [`printable`]. The formatter of log lines writes each of them at once.
#[derive(Clone, Debug)]
pub struct PrintableLines<W>(pub W);

impl<W: Write> Write for PrintableLines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let line = printable(text.trim_end_matches('\n'));
        let end = if text.ends_with('\n') { "\n" } else { "" };
        self.0.write_all(format!("{line}{end}").as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for PrintableLines<W> {
    type Writer = PrintableLines<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        PrintableLines(self.0.make_writer())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_line_stays_one_line(text in "(?s:.){0,20}") {
            let mut written = Vec::new();
            PrintableLines(&mut written).write_all(format!("{text}\n").as_bytes()).unwrap();
            let written = String::from_utf8(written).unwrap();
            let line = written.strip_suffix('\n').unwrap();
            prop_assert_eq!(printable(line), line);
        }
    }
}
