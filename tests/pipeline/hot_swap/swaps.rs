//! Versions are swapped under load, and every row meets exactly one.

use super::stage::Stage;

const SWAPS: u32 = 100;

#[tokio::test]
async fn a_hundred_swaps_under_load_lose_repeat_and_mix_nothing() {
    let stage = Stage::new("").await;
    let mut host = stage.home.start("");
    stage.until_met(&mut host, "0000").await;
    for swap in 1..=SWAPS {
        let version = format!("{swap:04}");
        stage.put(&version);
        host.until("the next chunk meets a new version");
        stage.until_met(&mut host, &version).await;
    }
    stage.source.end();
    let ended = host.wait();
    println!("{}", delays(&ended.log));
    let report = ended.done();
    stage.assert_whole(&report).await;

    let expected: Vec<String> = (0..=SWAPS).map(|swap| format!("{swap:04}")).collect();
    assert_eq!(stage.versions().await, expected);
    // The report names each version and what it did; the rows are all there.
    let plugins = report["plugins"].as_array().unwrap();
    assert_eq!(plugins.len(), expected.len());
    let rows: u64 = plugins.iter().map(|it| it["rows"].as_u64().unwrap()).sum();
    let ten = report["rows"]["dead_lettered"].as_u64().unwrap();
    // Once as a transform, once as a validator; dead letters once more as a policy.
    assert_eq!(rows, 2 * stage.source.sent() + ten);
    let states = stage.states().await;
    assert_eq!(states.len(), expected.len());
    assert_eq!(
        states.iter().filter(|it| it.ends_with("retired")).count(),
        100
    );
}

/// What the plugins took in chunks that were the first of their version, beyond the median of
/// all chunks. A figure, not a condition: it depends on what else the machine does.
fn delays(log: &str) -> String {
    let field = |line: &str, name: &str| {
        let rest = line.split(&format!(" {name}=")).nth(1)?;
        Some(rest.split(' ').next()?.trim_matches('"').to_owned())
    };
    let (mut all, mut first) = (Vec::new(), Vec::new());
    let mut last = String::new();
    for line in log.lines().filter(|line| line.contains("chunk committed")) {
        let (Some(took), Some(chain)) = (field(line, "plugins"), field(line, "chain")) else {
            continue;
        };
        let took = micros(&took);
        all.push(took);
        // Chunks are committed in the order in which they met their chains.
        if chain != last {
            first.push(took);
            last = chain;
        }
    }
    for times in [&mut all, &mut first] {
        times.sort_by(f64::total_cmp);
    }
    let at = |times: &[f64], share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let median = at(&all, 0.5);
    format!(
        "{} chunks, {median:.0} µs in plugins (median), {:.0} µs more (99th percentile), {:.0} µs \
         more (99.9th); first chunks of {} versions: {:.0} µs more (median), {:.0} µs more \
         (99th percentile)",
        all.len(),
        at(&all, 0.99) - median,
        at(&all, 0.999) - median,
        first.len(),
        at(&first, 0.5) - median,
        at(&first, 0.99) - median,
    )
}

/// A duration as `Debug` writes it, in microseconds.
fn micros(text: &str) -> f64 {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: f64 = digits.parse().unwrap();
    match &text[digits.len()..] {
        "ns" => number / 1e3,
        "ms" => number * 1e3,
        "s" => number * 1e6,
        _ => number,
    }
}
