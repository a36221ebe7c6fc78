//! What processes have used, by `/proc`. Where there is none, figures are NaN.

use std::fs;

/// Ticks of the figures in `/proc/*/stat` in a second (`USER_HZ`), the same on all architectures
/// that Rust's standard library supports well.
const TICKS: f64 = 100.0;

/// What `/proc/PID/stat` has of a process, in ticks.
struct Stat {
    parent: u32,
    own: u64,
    /// Of children that have ended and were waited for.
    reaped: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the program's name, which may have spaces and brackets of its own.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        own: number(11)? + number(12)?,
        reaped: number(13)? + number(14)?,
    })
}

/// CPU time of a process, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    stat(pid).map_or(f64::NAN, |stat| stat.own as f64 / TICKS)
}

/// CPU time of a process and of all its children, ended ones included, in seconds.
pub(crate) fn family_cpu_seconds(pid: u32) -> f64 {
    loop {
        let Some(before) = stat(pid) else {
            return f64::NAN;
        };
        let children = fs::read_dir("/proc").into_iter().flatten().flatten();
        let children = children
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(stat)
            .filter(|child| child.parent == pid);
        let children: u64 = children.map(|child| child.own).sum();
        // A child that ended meanwhile may be in both sums, or in none.
        match stat(pid) {
            Some(after) if after.reaped == before.reaped => {
                return (after.own + after.reaped + children) as f64 / TICKS;
            }
            _ => {}
        }
    }
}

/// The resident set of a process, in MiB.
pub(crate) fn resident_mebibytes(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes / 1024.0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn ended_children_count() {
        let me = std::process::id();
        let reaped = || stat(me).unwrap().reaped as f64 / TICKS;
        let before = (family_cpu_seconds(me), reaped());
        let busy = "i=0; while [ $i -lt 2000000 ]; do i=$((i+1)); done";
        let status = std::process::Command::new("sh").args(["-c", busy]).status();
        assert!(status.unwrap().success());
        let of_children = reaped() - before.1;
        assert!(of_children > 0.0);
        // A tick for what is lost when seconds are subtracted.
        assert!(family_cpu_seconds(me) - before.0 >= of_children - 1.0 / TICKS);
        assert!(resident_mebibytes(me).unwrap() > 1.0);
    }
}
