//! Formats of texts: sizes, durations, shares, addresses. The schema names them, and `FORMATS`
//! says how each is checked and what is said of a text that fails.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::schedule::Schedule;

/// A format of a text, by its name in the schema.
pub(super) struct Format {
    pub name: &'static str,
    pub accepts: fn(&str) -> bool,
    /// Name of the format in messages, after "is not".
    pub what: &'static str,
    pub hint: &'static str,
    /// True if messages must not repeat the text.
    pub secret: bool,
}

pub(super) const FORMATS: [Format; 7] = [
    Format {
        name: "share",
        accepts: |text| parse_percent(text).is_some(),
        what: "a percentage",
        hint: "such as \"10%\"; \"100%\" for no limit",
        secret: false,
    },
    Format {
        name: "byte-size",
        accepts: |text| parse_size(text).is_some(),
        what: "a size",
        hint: "such as \"64MiB\"",
        secret: false,
    },
    Format {
        name: "time-span",
        accepts: |text| parse_duration(text).is_some(),
        what: "a duration",
        hint: "such as \"500ms\" or \"5m\"",
        secret: false,
    },
    Format {
        name: "grpc-address",
        accepts: is_address,
        what: "a gRPC address",
        hint: "write http://host:port, https://host:port or unix:/path",
        secret: false,
    },
    Format {
        name: "postgres-url",
        accepts: |text| text.starts_with("postgres://") || text.starts_with("postgresql://"),
        what: "a PostgreSQL URL",
        hint: "such as postgres://user@host/database; leave `url` out for an embedded server",
        secret: true,
    },
    Format {
        name: "socket-address",
        accepts: |text| SocketAddr::from_str(text).is_ok(),
        what: "an IP address with a port",
        hint: "such as 127.0.0.1:9464, or 0.0.0.0:9464 for all networks",
        secret: false,
    },
    Format {
        name: "schedule",
        accepts: |text| Schedule::from_str(text).is_ok(),
        what: "a valid schedule, or never fires",
        hint: "such as \"0 0 2 * * ?\": second, minute, hour, day, month, weekday by name (MON to SUN)",
        secret: false,
    },
];

/// Bytes, at least one.
pub(super) fn parse_size(text: &str) -> Option<usize> {
    let size = bytesize::ByteSize::from_str(text).ok()?;
    usize::try_from(size.as_u64())
        .ok()
        .filter(|bytes| *bytes > 0)
}

/// A duration above zero.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text)
        .ok()
        .filter(|duration| !duration.is_zero())
}

/// A number from 0 to 100, from a text such as `10%`.
pub(super) fn parse_percent(text: &str) -> Option<f64> {
    let number: f64 = text.strip_suffix('%')?.trim_end().parse().ok()?;
    (0.0..=100.0).contains(&number).then_some(number)
}

fn is_address(text: &str) -> bool {
    text.starts_with("unix:/")
        || ["http://", "https://"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
            && tonic::transport::Endpoint::from_str(text).is_ok()
}

/// The size that a checked text states.
pub(super) fn size(text: Option<String>, default: usize) -> usize {
    text.as_deref().and_then(parse_size).unwrap_or(default)
}

/// The duration that a checked text states.
pub(super) fn duration(text: Option<String>, default: Duration) -> Duration {
    text.as_deref().and_then(parse_duration).unwrap_or(default)
}

/// A size as [`parse_size`] reads it, in the largest unit that divides it.
pub(super) fn write_size(bytes: usize) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units
        .into_iter()
        .find(|(bits, _)| bytes.trailing_zeros() >= *bits);
    match unit {
        Some((bits, unit)) => format!("{}{unit}", bytes >> bits),
        None => format!("{bytes}B"),
    }
}

/// A duration as [`parse_duration`] reads it.
pub(super) fn write_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        for (bytes, text) in [
            (64 << 20, "64MiB"),
            (1 << 30, "1GiB"),
            (1_536, "1536B"),
            (512 << 10, "512KiB"),
        ] {
            assert_eq!(write_size(bytes), text);
            assert_eq!(parse_size(text), Some(bytes));
        }
        for (milliseconds, text) in [(500, "500ms"), (30_000, "30s"), (300_000, "5m")] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(write_duration(duration), text);
            assert_eq!(parse_duration(text), Some(duration));
        }
    }
}
