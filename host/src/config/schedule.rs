//! Schedules of pipelines, in local time, in the syntax of Quartz and Spring.
//!
//! The fields are second, minute, hour, day of the month, month, weekday and optionally the year.
//! Weekdays are written by name: the number `1` is Sunday to Quartz and Monday to Spring, and a
//! guess would be wrong for half of the schedules that users bring along.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Local, NaiveDate, SecondsFormat};
use croner::Cron;
use croner::parser::{CronParser, Seconds};

/// The times at which a pipeline runs.
#[derive(Clone, PartialEq)]
pub struct Schedule(Cron);

/// The reason why a text is not a schedule.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The number of fields is not six or seven, or one of them is invalid.
    #[error("{0}")]
    Malformed(String),
    /// Quartz and Spring number weekdays differently.
    #[error("the weekday is a number: use its name, MON to SUN")]
    AmbiguousWeekday,
    /// Such as the 30th of February.
    #[error("it never fires")]
    Never,
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        if let Some(weekdays) = text.split_whitespace().nth(5)
            && weekdays.split(',').any(is_numbered)
        {
            return Err(ScheduleError::AmbiguousWeekday);
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Required)
            // Both have to fit, as in Spring. In Quartz one of them is `?` anyway.
            .dom_and_dow(true)
            // Both write "every five from zero" as `0/5`.
            .sloppy_ranges(true)
            .build();
        let cron = parser
            .parse(text)
            .map_err(|error| ScheduleError::Malformed(error.to_string()))?;
        // Searched from a fixed day on, so that the result does not depend on the current time.
        let beginning =
            NaiveDate::from_ymd_opt(2000, 1, 1).and_then(|day| day.and_hms_opt(0, 0, 0));
        let ever = beginning.is_some_and(|time| {
            let time = time.and_utc();
            cron.find_next_occurrence(&time, true).is_ok()
        });
        if ever {
            Ok(Self(cron))
        } else {
            Err(ScheduleError::Never)
        }
    }
}

/// True if a part of the weekday field names a day by its number. `#` is followed by its rank in
/// the month, and `/` by a step.
fn is_numbered(part: &str) -> bool {
    let day = part.split(['#', '/']).next().unwrap_or_default();
    day.contains(|character: char| character.is_ascii_digit())
}

impl Schedule {
    /// The first time after this one; `None` when there are no more. A fixed time in an hour that
    /// daylight saving time skips comes right after that hour; in an hour that it repeats, it comes
    /// once. Times with `*` or `/` follow the wall clock.
    #[must_use]
    pub fn after(&self, time: DateTime<Local>) -> Option<DateTime<Local>> {
        self.0.find_next_occurrence(&time, false).ok()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A time for logs and responses: RFC 3339 in local time, to the second.
pub(crate) fn shown(time: DateTime<Local>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, false)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use chrono::{NaiveDateTime, TimeZone};

    use super::*;

    /// The first two times after this one, in a time without daylight saving changes.
    #[track_caller]
    fn check(schedule: &str, after: &str, expected: [&str; 2]) {
        let schedule: Schedule = schedule.parse().unwrap();
        let naive = NaiveDateTime::parse_from_str(after, "%Y-%m-%d %H:%M:%S").unwrap();
        let mut time = Local.from_local_datetime(&naive).unwrap();
        for expected in expected {
            time = schedule.after(time).unwrap();
            assert_eq!(
                time.format("%Y-%m-%d %H:%M:%S").to_string(),
                expected,
                "{schedule}"
            );
        }
    }

    #[test]
    fn times_are_those_of_quartz_and_spring() {
        // 7 July 2025 is a Monday.
        let monday = "2025-07-07 12:00:00";
        for (schedule, expected) in [
            (
                "0 0 2 * * ?",
                ["2025-07-08 02:00:00", "2025-07-09 02:00:00"],
            ),
            (
                "* * * * * ?",
                ["2025-07-07 12:00:01", "2025-07-07 12:00:02"],
            ),
            (
                "0 0/20 * * * ?",
                ["2025-07-07 12:20:00", "2025-07-07 12:40:00"],
            ),
            (
                "*/40 * * * * *",
                ["2025-07-07 12:00:40", "2025-07-07 12:01:00"],
            ),
            (
                "0 30 6 ? * SAT,SUN",
                ["2025-07-12 06:30:00", "2025-07-13 06:30:00"],
            ),
            (
                "0 0 9 ? * MON-FRI",
                ["2025-07-08 09:00:00", "2025-07-09 09:00:00"],
            ),
            (
                "0 0 9 ? * mon#2",
                ["2025-07-14 09:00:00", "2025-08-11 09:00:00"],
            ),
            (
                "0 0 9 ? * FRIL",
                ["2025-07-25 09:00:00", "2025-08-29 09:00:00"],
            ),
            (
                "0 0 3 L * ?",
                ["2025-07-31 03:00:00", "2025-08-31 03:00:00"],
            ),
            (
                "0 0 3 13 * FRI",
                ["2026-02-13 03:00:00", "2026-03-13 03:00:00"],
            ),
            (
                "0 0 0 1 JAN ? 2027-2028",
                ["2027-01-01 00:00:00", "2028-01-01 00:00:00"],
            ),
            ("@daily", ["2025-07-08 00:00:00", "2025-07-09 00:00:00"]),
        ] {
            check(schedule, monday, expected);
        }
    }

    #[test]
    fn a_schedule_in_the_past_has_no_next_time() {
        let schedule: Schedule = "0 0 0 1 1 ? 2024".parse().unwrap();
        assert_eq!(schedule.after(Local::now()), None);
    }

    #[test]
    fn invalid_and_ambiguous_schedules_are_refused() {
        let refused = [
            "",
            "0 2 * * ?",
            "daily",
            "0 0 25 * * ?",
            "61 0 2 * * ?",
            "0 0 2 ? * 2",
            "0 0 2 ? * 1-5",
            "0 0 2 ? * MON,5",
            "0 0 2 ? * 6L",
            "0 0 2 30 FEB ?",
            "0 0 2 * * ? 2027 x",
        ];
        let said = refused.map(|text| {
            let error = text.parse::<Schedule>().unwrap_err();
            format!("{text:?}: {error}")
        });
        insta::assert_snapshot!(said.join("\n"), @r#"
        "": CronPattern cannot be an empty string.
        "0 2 * * ?": Invalid pattern: Pattern must have 6 or 7 fields when seconds are required and years are optional.
        "daily": Invalid pattern: Pattern must have 6 or 7 fields when seconds are required and years are optional.
        "0 0 25 * * ?": Component error: Number out of bounds.
        "61 0 2 * * ?": Component error: Number out of bounds.
        "0 0 2 ? * 2": the weekday is a number: use its name, MON to SUN
        "0 0 2 ? * 1-5": the weekday is a number: use its name, MON to SUN
        "0 0 2 ? * MON,5": the weekday is a number: use its name, MON to SUN
        "0 0 2 ? * 6L": the weekday is a number: use its name, MON to SUN
        "0 0 2 30 FEB ?": it never fires
        "0 0 2 * * ? 2027 x": Invalid pattern: Pattern must have 6 or 7 fields when seconds are required and years are optional.
        "#);
    }
}
