//! What is asked of the host, and whether the medians of the rounds meet it.

use std::fmt::Write;

/// A bound.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// Something that is asked.
pub(crate) struct Bar {
    /// Ends with the unit or what it is a multiple of.
    pub(crate) what: String,
    pub(crate) bound: Bound,
    pub(crate) measured: f64,
}

impl Bar {
    pub(crate) fn new(what: impl Into<String>, bound: Bound, measured: f64) -> Self {
        Self {
            what: what.into(),
            bound,
            measured,
        }
    }

    /// A figure that is not there meets nothing.
    fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtLeast(least) => self.measured >= least,
            Bound::AtMost(most) => self.measured <= most,
        }
    }
}

/// As a list.
pub(crate) fn list(bars: &[Bar]) -> String {
    let mut text = "\n".to_owned();
    for bar in bars {
        let bound = match bar.bound {
            Bound::AtLeast(least) => format!("at least {least}"),
            Bound::AtMost(most) => format!("at most {most}"),
        };
        let (what, measured) = (&bar.what, bar.measured);
        let word = match (bar.is_met(), measured.is_nan()) {
            (true, _) => "met",
            (false, false) => "missed",
            (false, true) => "not measured",
        };
        // Writing to a string cannot fail.
        writeln!(text, "- {what}, {bound}: {measured:.2}, **{word}**").ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_met_or_missed() {
        let bars = [
            Bar::new("throughput by the ceiling", Bound::AtLeast(0.8), 0.8),
            Bar::new("µs of CPU a row", Bound::AtMost(12.0), 12.5),
            Bar::new("rate by that of `keep`", Bound::AtLeast(2.0), f64::NAN),
        ];
        assert_eq!(
            list(&bars),
            "\n- throughput by the ceiling, at least 0.8: 0.80, **met**\n\
             - µs of CPU a row, at most 12: 12.50, **missed**\n\
             - rate by that of `keep`, at least 2: NaN, **not measured**\n"
        );
    }
}
