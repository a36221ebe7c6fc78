//! Rough estimates of the cost of maintaining and building a vector index.
//!
//! Measured with pgvector 0.8.6 on two cores of a small server, `m = 16`, 10,000 rows at random: with
//! two connections, an insert into an HNSW index takes 0.71 ms at 384 dimensions and 3.0 ms at 1,536;
//! with `ef_construction = 4`, 0.09 ms and 0.31 ms; building by parallel workers takes 0.18 ms and
//! 0.53 ms a row. All are nearly linear in the dimensions. Other machines differ by small factors, and
//! all times by about the same one.

use std::time::Duration;

/// Parameters of the size of an index.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Kind of the index.
    pub method: Method,
    /// Bytes of a vector; those of 1,536 f32 if no dimensions are declared.
    pub vector_bytes: u64,
}

/// A kind of vector index, with the parameter that its size depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A graph with `m` connections for each row.
    Hnsw {
        /// `m`
        connections: u64,
    },
    /// Lists around centroids.
    IvfFlat {
        /// `lists`
        lists: u64,
    },
    /// Of another extension: nothing is known of its costs.
    Other,
}

/// Time of a load, by the treatment of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Time to insert the rows one by one. A changed row is inserted again.
    pub maintaining: Duration,
    /// The same with the least effort, while a new index is to be built beside it.
    pub beside: Duration,
    /// Time to build the index of all rows.
    pub building: Duration,
}

impl Shape {
    /// The shape of an index whose column has this type. `parameter` is `m` or `lists`.
    pub(super) fn new(method: &str, column: &str, modifier: i32, parameter: Option<&str>) -> Self {
        // pgvector's defaults.
        let default = if method == "hnsw" { 16 } else { 100 };
        let parameter = parameter.and_then(|parameter| parameter.parse().ok());
        let dimensions = u64::try_from(modifier).ok().filter(|known| *known > 0);
        let elements = dimensions.unwrap_or(1_536);
        let vector_bytes = match column {
            "halfvec" => elements * 2,
            "bit" => elements.div_ceil(8),
            _ => elements * 4,
        };
        Self::known(method, parameter.unwrap_or(default), vector_bytes)
    }

    /// The shape of an index of this access method, [`Shape::parameter`] and `vector_bytes`.
    pub(super) fn known(method: &str, parameter: u64, vector_bytes: u64) -> Self {
        let method = match method {
            "hnsw" => Method::Hnsw {
                connections: parameter,
            },
            "ivfflat" => Method::IvfFlat { lists: parameter },
            _ => Method::Other,
        };
        Self {
            method,
            vector_bytes,
        }
    }

    /// `m` or `lists`; 0 for others.
    #[must_use]
    pub fn parameter(&self) -> u64 {
        match self.method {
            Method::Hnsw { connections } => connections,
            Method::IvfFlat { lists } => lists,
            Method::Other => 0,
        }
    }

    /// True for an index whose inserts are expensive, and can be made cheaper.
    #[must_use]
    pub fn is_hnsw(&self) -> bool {
        matches!(self.method, Method::Hnsw { .. })
    }

    /// The cost of `entering` rows, new or changed, and of an index of `all` rows of the table
    /// afterwards. `None` for an index with cheap inserts, or of which nothing is known.
    #[must_use]
    pub fn cost(&self, entering: u64, all: u64) -> Option<Cost> {
        let Method::Hnsw { .. } = self.method else {
            return None;
        };
        let kilobytes = self.vector_bytes as f64 / 1024.0;
        let maintaining = 0.00022 + 0.00046 * kilobytes;
        let beside = 0.00003 + 0.000047 * kilobytes;
        let building = 0.00006 + 0.00008 * kilobytes;
        Some(Cost {
            maintaining: Duration::from_secs_f64(maintaining * entering as f64),
            beside: Duration::from_secs_f64(beside * entering as f64),
            building: Duration::from_secs_f64(building * all as f64),
        })
    }

    /// The memory in bytes for a build that does not spill to disk, with a margin of a quarter. For
    /// HNSW it follows the structures of pgvector 0.8: an element with its bottom layer has 2 m
    /// neighbours of 16 bytes, and each layer above has one in m of the elements below. For IVFFlat
    /// it is what k-means allocates: 50 samples for each list, and their distances to all
    /// centroids. `None` if nothing is known.
    #[must_use]
    pub fn memory(&self, rows: u64) -> Option<u64> {
        let vector = self.vector_bytes + 16;
        let needed = match self.method {
            Method::Hnsw { connections } => rows * (220 + 34 * connections + vector),
            Method::IvfFlat { lists } => {
                let samples = (50 * lists).max(10_000);
                samples * (vector + 4 * lists + 8) + lists * (2 * vector + 4 * lists)
            }
            Method::Other => return None,
        };
        Some(needed + needed / 4 + (8 << 20))
    }
}

/// A duration in words, rounded; long ones without seconds.
#[must_use]
pub fn roughly(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        ..1.0 => "less than a second".into(),
        ..90.0 => format!("{seconds:.0} s"),
        ..5_400.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3_600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hnsw(column: &str, dimensions: i32) -> Shape {
        Shape::new("hnsw", column, dimensions, None)
    }

    #[test]
    fn estimates_are_near_what_was_measured() {
        // Type, dimensions, then milliseconds for each row: inserted, with the least effort, built.
        for (column, dimensions, inserted, beside, built) in [
            ("vector", 384, 0.71, 0.093, 0.175),
            ("vector", 1_536, 2.99, 0.31, 0.53),
            ("halfvec", 1_536, 2.46, 0.27, 0.44),
        ] {
            let shape = hnsw(column, dimensions);
            let cost = shape.cost(10_000, 10_000).unwrap();
            for (estimated, measured) in [
                (cost.maintaining, inserted),
                (cost.beside, beside),
                (cost.building, built),
            ] {
                let ratio = estimated.as_secs_f64() / (measured * 10.0);
                assert!(
                    (0.6..1.33).contains(&ratio),
                    "{column} {dimensions}: {ratio}"
                );
            }
        }
        let present = hnsw("vector", 1_536).cost(0, 10_000).unwrap();
        assert_eq!(present.maintaining, Duration::ZERO);
        assert!(present.building > Duration::from_secs(5));
        for method in ["ivfflat", "bloom"] {
            assert_eq!(Shape::new(method, "vector", 8, None).cost(1, 1), None);
        }
    }

    #[test]
    fn memory_grows_with_rows_and_with_lists() {
        let mib = |shape: Shape, rows| shape.memory(rows).unwrap() >> 20;
        assert_eq!(mib(hnsw("vector", 1_536), 100_000), 833);
        assert_eq!(mib(hnsw("halfvec", 1_536), 100_000), 467);
        assert_eq!(mib(hnsw("bit", 1_536), 100_000), 123);
        let wide = Shape::new("hnsw", "vector", 1_536, Some("32"));
        assert_eq!(mib(wide, 100_000), 898);
        let lists = Shape::new("ivfflat", "vector", 1_536, Some("1000"));
        assert_eq!(mib(lists, 0), mib(lists, 1_000_000));
        assert_eq!(mib(lists, 0), 633);
        assert_eq!(Shape::new("bloom", "vector", 8, None).memory(1), None);
    }

    #[test]
    fn durations_are_rounded() {
        let said = [0.2, 1.4, 89.0, 90.0, 600.0, 5_399.0, 5_400.0, 86_400.0]
            .map(|seconds| roughly(Duration::from_secs_f64(seconds)));
        insta::assert_snapshot!(said.join(", "), @"less than a second, 1 s, 89 s, 2 min, 10 min, 90 min, 1.5 h, 24.0 h");
    }
}
