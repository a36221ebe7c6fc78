//! What a run came to, and medians and quartiles over rounds. A figure that there is not is NaN.

/// What the server used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metered {
    pub(crate) server_cpu_seconds: f64,
    pub(crate) wal_bytes: f64,
}

/// One run. CPU times are microseconds a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// From the start of the process to its end, whatever it did after the last row.
    pub(crate) wall_seconds: f64,
    pub(crate) rows_per_second: f64,
    /// Of the process that writes.
    pub(crate) client_cpu: f64,
    /// Of all processes of the database server.
    pub(crate) server_cpu: f64,
    /// Of the process that the rows come from.
    pub(crate) source_cpu: f64,
    /// Bytes a row.
    pub(crate) wal: f64,
    /// Milliseconds of a chunk: median and 99th percentile.
    pub(crate) chunk: [f64; 2],
    /// MiB.
    pub(crate) memory: f64,
}

/// The runs of a variant, by round.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) label: String,
    /// The variants that it is compared with, by place; none for a ceiling.
    pub(crate) against: Vec<usize>,
    pub(crate) runs: Vec<Run>,
}

/// All variants of a comparison.
pub(crate) struct Results(pub(crate) Vec<Series>);

impl Results {
    /// A figure of a variant over the rounds.
    pub(crate) fn spread(&self, place: usize, figure: fn(&Run) -> f64) -> Spread {
        let runs = self.0.get(place).map_or(&[][..], |series| &series.runs);
        Spread::of(runs.iter().map(figure))
    }

    /// A figure of a variant compared, round by round, with the mean of those it is compared with.
    pub(crate) fn compared(
        &self,
        place: usize,
        figure: fn(&Run) -> f64,
        compare: fn(f64, f64) -> f64,
    ) -> Spread {
        let Some(series) = self.0.get(place) else {
            return Spread::of([]);
        };
        let rounds = series.runs.iter().enumerate().map(|(round, run)| {
            let others = series.against.iter().filter_map(|other| {
                let run = self.0.get(*other)?.runs.get(round)?;
                Some(figure(run))
            });
            let others: Vec<f64> = others.collect();
            let mean = others.iter().sum::<f64>() / others.len() as f64;
            compare(figure(run), mean)
        });
        Spread::of(rounds)
    }

    /// Throughput as a share of that of the variants it is compared with.
    pub(crate) fn share(&self, place: usize) -> Spread {
        self.compared(place, |run| run.rows_per_second, |it, mean| it / mean)
    }
}

/// The middle of some figures, and where half of them lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
}

impl Spread {
    /// Of at least one figure; NaN of none.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self {
            median: quantile(&sorted, 0.5),
            lower: quantile(&sorted, 0.25),
            upper: quantile(&sorted, 0.75),
        }
    }
}

/// Between the two figures next to it, in proportion.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * sorted.len().saturating_sub(1) as f64;
    let at = |place: f64| sorted.get(place as usize).copied().unwrap_or(f64::NAN);
    let (below, above) = (at(place.floor()), at(place.ceil()));
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_figures() {
        let spread = |median, lower, upper| Spread {
            median,
            lower,
            upper,
        };
        assert_eq!(Spread::of([3.0]), spread(3.0, 3.0, 3.0));
        assert_eq!(Spread::of([2.0, 1.0]), spread(1.5, 1.25, 1.75));
        assert_eq!(Spread::of([5.0, 1.0, 4.0, 2.0, 3.0]), spread(3.0, 2.0, 4.0));
    }

    #[test]
    fn runs_are_compared_with_those_of_their_round() {
        let run = |rows_per_second| Run {
            rows_per_second,
            wall_seconds: 1.0,
            client_cpu: 1.0,
            server_cpu: 1.0,
            source_cpu: 1.0,
            wal: 1.0,
            chunk: [1.0; 2],
            memory: 1.0,
        };
        let series = |against: &[usize], rates: [f64; 2]| Series {
            label: String::new(),
            against: against.to_vec(),
            runs: rates.map(run).into(),
        };
        let results = Results(vec![
            series(&[], [100.0, 10.0]),
            series(&[0, 2], [80.0, 15.0]),
            series(&[0], [60.0, 20.0]),
        ]);
        assert_eq!(results.share(1), Spread::of([1.0, 1.0]));
        assert_eq!(results.share(2), Spread::of([0.6, 2.0]));
        assert!(results.share(0).median.is_nan());
    }
}
