//! The figures as a table in Markdown.

use std::fmt::Write;

use crate::figures::{Exact, Figures, Row};

/// Returns a table of the deployments, one of the refused archives, or both.
pub fn write(figures: &Figures) -> String {
    let (deployments, refused): (Vec<&Row>, Vec<&Row>) = figures.rows.iter().partition(|row| row.refusal.is_none());
    let mut table = String::new();
    if !deployments.is_empty() {
        table.push_str("| workload | scenario | runs | wall s | CPU s | peak MiB | requests (least) | × | archive bytes read (least) | × |");
        table.push_str(if figures.tls { " handshakes, full and resumed | their CPU s |\n" } else { "\n" });
        table.push_str(&"|---".repeat(if figures.tls { 12 } else { 10 }));
        table.push_str("|\n");
    }
    for row in deployments {
        let _ = write!(
            table,
            "| {} | {} | {} of {} | {} | {} | {:.0} | {} |",
            row.workload,
            row.scenario,
            row.samples.len(),
            row.runs,
            row.wall_seconds().seconds(),
            row.spread(|sample| sample.cpu_seconds).seconds(),
            row.spread(|sample| sample.peak_mib).median,
            [row.requests(), row.bytes_read()].map(cells).join(" | "),
        );
        if let Some(handshake) = figures.handshake {
            let full = row.spread(|sample| sample.traffic.full_handshakes as f64).median;
            let resumed = row.spread(|sample| sample.traffic.resumed_handshakes as f64).median;
            let seconds = full * handshake.full.as_secs_f64() + resumed * handshake.resumed.as_secs_f64();
            let _ = write!(table, " {full:.0} + {resumed:.0} | {seconds:.3} |");
        }
        table.push('\n');
    }
    if !refused.is_empty() {
        table.push_str("\n| Archive | | wall s | peak MiB |\n|---|---|---|---|\n");
    }
    for row in refused {
        let _ = writeln!(
            table,
            "| {} | {} | {} | {:.0} |",
            row.scenario,
            row.about,
            row.wall_seconds().seconds(),
            row.spread(|sample| sample.peak_mib).median,
        );
    }
    table
}

/// Returns two cells: a number with the least that it can be, and the ratio of the two.
fn cells(exact: Exact) -> String {
    let ratio = exact.found as f64 / exact.minimum.max(1) as f64;
    format!("{} ({}) | {ratio:.2}", thousands(exact.found), thousands(exact.minimum))
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
