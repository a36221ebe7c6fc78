//! The host is killed at every step and at random moments. Started again, it comes to what an
//! undisturbed run comes to: nothing lost, nothing twice, and the API server knows. All of it with
//! the database over a Unix socket, and over TCP.

use std::os::unix::process::ExitStatusExt;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use support::{Ended, Over, Recruit};

/// Makes each of these a test over either way to the database.
macro_rules! over_both {
    ($($killed:ident,)*) => {
        mod unix {
            $(#[tokio::test]
            async fn $killed() {
                super::$killed(super::Over::Unix).await;
            })*
        }
        mod tcp {
            $(#[tokio::test]
            async fn $killed() {
                super::$killed(super::Over::Tcp).await;
            })*
        }
    };
}

over_both!(
    while_it_begins,
    while_it_receives_and_prepares,
    while_it_writes,
    around_the_commit,
    at_the_end,
    again_and_again,
    at_random_moments,
);

/// Kills at each of these passages of `point`, each time in a run of its own.
async fn killed_at(over: Over, point: &str, passages: &[u32]) {
    for passage in passages {
        let what = format!("killed at passage {passage} of {point}, over {over:?}");
        let recruit = Recruit::over(over).await;
        kill_at(&recruit, point, *passage, &what);
        finish(&recruit, &what).await;
    }
}

#[track_caller]
fn kill_at(recruit: &Recruit, point: &str, passage: u32, what: &str) {
    let faults = format!("{point}={}*off->return", passage - 1);
    let ended = recruit.home.start(&faults).wait();
    assert!(is_killed(&ended), "{what}: {}\n{}", ended.status, ended.log);
}

fn is_killed(ended: &Ended) -> bool {
    ended.status.signal() == Some(Signal::SIGKILL as i32)
}

/// Runs to the end, unless the run had come to it before it was killed, and compares.
async fn finish(recruit: &Recruit, what: &str) {
    if !is_finished(recruit).await {
        recruit.home.run().done();
    }
    recruit.assert_undisturbed(what).await;
}

async fn is_finished(recruit: &Recruit) -> bool {
    let finished = "select count(*) from forebay.run where status = 'succeeded'";
    recruit.home.database.number(finished).await == 1
}

async fn while_it_begins(over: Over) {
    killed_at(over, "run.begun", &[1]).await;
    killed_at(over, "stream.open", &[1]).await;
}

async fn while_it_receives_and_prepares(over: Over) {
    killed_at(over, "chunk.received", &[1, 4, 15]).await;
    killed_at(over, "chunk.prepared", &[1, 7]).await;
}

async fn while_it_writes(over: Over) {
    killed_at(over, "write.begin", &[1, 9]).await;
    // Each chunk passes it at least twice; those with refused rows, many times.
    killed_at(over, "write.table", &[1, 2, 8, 20, 31]).await;
    killed_at(over, "write.rows", &[6]).await;
    killed_at(over, "write.dead_letters", &[1, 3]).await;
    killed_at(over, "write.checkpoint", &[1, 5]).await;
}

async fn around_the_commit(over: Over) {
    killed_at(over, "commit.before", &[1, 10, 15]).await;
    killed_at(over, "commit.after", &[1, 10, 15]).await;
}

async fn at_the_end(over: Over) {
    for point in [
        "partition.complete",
        "notify.before",
        "notify.called",
        "notify.noted",
        "finish.before",
        "finish.after",
    ] {
        killed_at(over, point, &[1]).await;
    }
}

async fn again_and_again(over: Over) {
    let recruit = Recruit::over(over).await;
    let points = [
        ("run.begun", 1),
        ("write.table", 5),
        ("commit.after", 3),
        ("chunk.received", 4),
        ("write.dead_letters", 2),
        ("commit.before", 4),
        ("stream.open", 1),
        ("commit.after", 2),
        ("partition.complete", 1),
        ("notify.called", 1),
        ("finish.before", 1),
    ];
    for (point, passage) in points {
        kill_at(
            &recruit,
            point,
            passage,
            &format!("again and again, {point}"),
        );
    }
    finish(&recruit, "killed again and again").await;
}

async fn at_random_moments(over: Over) {
    let seed = match std::env::var("FOREBAY_TEST_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64,
    };
    println!("FOREBAY_TEST_SEED={seed}");
    let mut random = Random(seed);
    let mut kills = 0;
    // A host may be quicker than whoever kills it.
    for _ in 0..10 {
        kills += killed_at_moments(over, &mut random, seed).await;
        if kills > 0 {
            break;
        }
    }
    println!("killed {kills} times");
    assert!(kills > 0);
}

/// Kills a run until it has come to its end; how often that was.
async fn killed_at_moments(over: Over, random: &mut Random, seed: u64) -> u32 {
    let recruit = Recruit::over(over).await;
    let mut kills = 0;
    while !is_finished_or_unborn(&recruit, kills).await {
        let mut host = recruit.home.start("");
        // Few lines, so that it takes several starts to come to the end.
        for _ in 0..2 + random.below(8) {
            host.next_line();
        }
        host.signal(Signal::SIGKILL);
        kills += u32::from(is_killed(&host.wait()));
    }
    recruit.assert_undisturbed(&format!("seed {seed}")).await;
    kills
}

/// The first start may be killed before there are tables to ask.
async fn is_finished_or_unborn(recruit: &Recruit, kills: u32) -> bool {
    let exists = "select count(to_regclass('forebay.run'))";
    let exists = recruit.home.database.number(exists).await == 1;
    assert!(exists || kills < 100, "it never begins");
    exists && is_finished(recruit).await
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % limit
    }
}
