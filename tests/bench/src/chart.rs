//! The chain alone as horizontal bars, in SVG.

use std::fmt::Write;

use crate::chain::Cost;

const WIDTH: f64 = 720.0;
const LABELS: f64 = 170.0;
const FIGURES: f64 = 110.0;
const BAR: f64 = 22.0;

/// Draws microseconds a row. The scale is logarithmic: interpreters take ten times as long.
pub(crate) fn draw(costs: &[Cost]) -> String {
    let most = costs.iter().map(|cost| cost.row.median).fold(1.0, f64::max);
    let scale = (WIDTH - LABELS - FIGURES) / (1.0 + most * 10.0).ln();
    let height = BAR * (costs.len() as f64 + 2.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"18\">What the chain costs, µs a row (logarithmic)</text>\n"
    );
    for (place, cost) in costs.iter().enumerate() {
        let top = BAR * (place as f64 + 1.5);
        let text = top + BAR * 0.65;
        let length = (1.0 + cost.row.median * 10.0).ln() * scale;
        let label = escaped(&cost.label);
        let (end, bar, figure) = (LABELS + length + 6.0, BAR - 6.0, cost.row.median);
        let drawn = writeln!(
            svg,
            "<text x=\"8\" y=\"{text}\">{label}</text>\
             <rect x=\"{LABELS}\" y=\"{top}\" width=\"{length:.1}\" height=\"{bar}\" fill=\"#4477aa\"/>\
             <text x=\"{end:.1}\" y=\"{text}\">{figure:.2}</text>"
        );
        // Writing to a string cannot fail.
        drawn.ok();
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
