//! Figures as horizontal bars, in SVG.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const LABELS: f64 = 250.0;
const FIGURES: f64 = 110.0;
const BAR: f64 = 22.0;

/// How long a bar is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    /// For figures that differ by powers of ten.
    Logarithmic,
}

/// A bar.
pub(crate) struct Figure {
    pub(crate) label: String,
    pub(crate) value: f64,
    /// Digits after the point.
    pub(crate) digits: usize,
}

/// Draws figures below a title.
pub(crate) fn draw(title: &str, scale: Scale, figures: &[Figure]) -> String {
    let length = |value: f64| match scale {
        Scale::Linear => value,
        Scale::Logarithmic => (1.0 + value * 10.0).ln(),
    };
    let lengths = figures.iter().map(|figure| length(figure.value));
    let factor = (WIDTH - LABELS - FIGURES) / lengths.fold(f64::MIN_POSITIVE, f64::max);
    let height = BAR * (figures.len() as f64 + 2.0);
    let title = escaped(title);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"18\">{title}</text>\n"
    );
    for (place, figure) in figures.iter().enumerate() {
        let top = BAR * (place as f64 + 1.5);
        let text = top + BAR * 0.65;
        let length = length(figure.value) * factor;
        let label = escaped(&figure.label);
        let (end, bar) = (LABELS + length + 6.0, BAR - 6.0);
        let (value, digits) = (figure.value, figure.digits);
        let drawn = writeln!(
            svg,
            "<text x=\"8\" y=\"{text}\">{label}</text>\
             <rect x=\"{LABELS}\" y=\"{top}\" width=\"{length:.1}\" height=\"{bar}\" fill=\"#4477aa\"/>\
             <text x=\"{end:.1}\" y=\"{text}\">{value:.digits$}</text>"
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
