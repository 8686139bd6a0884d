//! The chart of the wall times: one bar for each scenario, on a logarithmic scale.

use std::fmt::Write;

use crate::figures::{Figures, Row};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 80.0;
const LINE: f64 = 20.0;

/// The ends of the scale, in seconds.
const SCALE: (f64, f64) = (0.02, 1_000.0);

/// Draws the rows that have a minimum: those of deployments, not those of refused archives.
pub fn draw(figures: &Figures) -> String {
    let rows: Vec<&Row> = figures.rows.iter().filter(|row| row.minimum.is_some()).collect();
    let bottom = TOP + LINE * rows.len() as f64;
    let height = bottom + 40.0;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
<text x="16" y="26" font-size="16">Seconds for a deployment, from event to answer</text>
<text x="16" y="46" fill="#555">Medians; {}</text>
<text x="16" y="62" fill="#c22">a cold deployment that nothing but S3 holds up</text>
"##,
        figures.conditions()
    );
    let mut seconds = SCALE.0;
    for tick in ["0.02", "0.1", "1", "10", "100", "1,000"] {
        let x = x_of(seconds);
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            svg,
            r##"<line x1="{x:.1}" y1="{TOP}" x2="{x:.1}" y2="{bottom}" stroke="#ddd"/><text x="{x:.1}" y="{:.1}" text-anchor="middle" fill="#555">{tick}</text>"##,
            bottom + 18.0
        );
        seconds = if seconds < 0.1 { 0.1 } else { seconds * 10.0 };
    }
    for (number, row) in rows.iter().enumerate() {
        let y = TOP + LINE * number as f64;
        let wall = row.wall_seconds();
        let width = (x_of(wall.median) - LEFT).max(1.0);
        let color = match row.scenario.as_str() {
            "cold" => "#355c8c",
            "no-op" => "#7fb069",
            "update" => "#e0a030",
            _ => "#a06cb0",
        };
        let text = y + 14.0;
        let _ = writeln!(
            svg,
            r##"<text x="{:.1}" y="{text:.1}" text-anchor="end">{} {}</text><rect x="{LEFT}" y="{:.1}" width="{width:.1}" height="14" fill="{color}"/><text x="{:.1}" y="{text:.1}">{}</text>"##,
            LEFT - 8.0,
            row.workload,
            row.scenario,
            y + 3.0,
            LEFT + width + 6.0,
            wall.seconds(),
        );
        if let Some(bound) = row.bound_seconds {
            let (x, top, bottom) = (x_of(bound), y + 1.0, y + 19.0);
            let _ = writeln!(
                svg,
                r##"<line x1="{x:.1}" y1="{top:.1}" x2="{x:.1}" y2="{bottom:.1}" stroke="#c22" stroke-width="2"/>"##,
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Returns the horizontal position of a time.
fn x_of(seconds: f64) -> f64 {
    let (first, last) = SCALE;
    let share = (seconds.clamp(first, last) / first).ln() / (last / first).ln();
    LEFT + share * (WIDTH - LEFT - RIGHT)
}
