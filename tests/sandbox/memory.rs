//! Plugins that run out of memory: what they answer then is not believed, and those that leak go on
//! in fresh instances.

use std::fs;
use std::sync::Arc;

use bytestring::ByteString;
use forebay::plugin::{
    Chain, ChainEntry, ConfiguredPlugin, Engine, Limits, MemoryUse, Plugin, Runner,
};
use forebay::row::{Batch, Schema, Value};
use support::component::{component, leaky};
use support::sandbox::{DEADLINE, ROWS, batch, failures, guest, schema};

/// Loads a component under a limit of this many bytes of memory.
fn load(bytes: &[u8], memory: usize) -> Arc<Plugin> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("plugin.wasm");
    fs::write(&path, bytes).unwrap();
    let limits = Limits {
        memory,
        deadline: 10 * DEADLINE,
        ..Limits::default()
    };
    Engine::new(limits, None).unwrap().load(&path).unwrap()
}

fn runner(plugin: &Arc<Plugin>, schema: &Arc<Schema>) -> Runner {
    let chain = Chain::new(vec![(Arc::clone(plugin), Vec::new())]).unwrap();
    chain.runner(schema)
}

/// The name of a row among all rows of a test: no two have the same.
fn name(chunk: u32, row: u32) -> Value {
    Value::Text(ByteString::from(format!("co {:012}", chunk * ROWS + row)))
}

fn named(schema: &Arc<Schema>, chunk: u32) -> Batch {
    let mut batch = batch(schema, ROWS);
    for row in 0..ROWS {
        batch.row_mut(row)[0] = name(chunk, row);
    }
    batch
}

/// Runs chunks of distinct names through the plugin that keeps them; returns the number of rows
/// with another row's name, of rows that failed, and what its memory did.
fn keep(plugin: &Arc<Plugin>, chunks: u32) -> (usize, usize, MemoryUse) {
    let schema = schema();
    let mut runner = runner(plugin, &schema);
    let (mut wrong, mut failed) = (0, 0);
    for chunk in 0..chunks {
        let mut batch = named(&schema, chunk);
        runner.run(&mut batch).unwrap();
        let live = batch.live.iter();
        wrong += live
            .filter(|row| batch.row(**row)[0] != name(chunk, **row))
            .count();
        failed += batch.failures.len();
    }
    (wrong, failed, runner.stats()[0].memory)
}

#[test]
fn h1_a_row_never_gets_another_rows_value_whatever_the_limit() {
    // Bytes kept for a row, so that calls are refused: before an instance is found to be full, in
    // its second call, in its first.
    for (memory, bytes) in [
        (1 << 20, 300),
        (4 << 20, 3_000),
        (4 << 20, 10_000),
        (6 << 20, 20_000),
        (16 << 20, 40_000),
        (64 << 20, 60_000),
    ] {
        let (wrong, failed, used) = keep(&load(&leaky(bytes), memory), 12);
        assert_eq!((wrong, failed), (0, 0), "{memory} {bytes} {used:?}");
        assert!(used.peak <= memory, "{memory} {used:?}");
    }
}

/// `cargo test --release --test sandbox -- --ignored --nocapture h1_a_million`, with a component of
/// one's own that keeps names if `FOREBAY_LEAKY` has its path.
#[test]
#[ignore = "the same at length, for figures"]
fn h1_a_million_rows_under_four_limits() {
    let own = std::env::var_os("FOREBAY_LEAKY").map(|path| fs::read(path).unwrap());
    let components: Vec<Vec<u8>> = match own {
        Some(own) => vec![own],
        None => [32, 1_000, 9_000].map(leaky).to_vec(),
    };
    let chunks = 3_400 / u32::try_from(components.len()).unwrap();
    for memory in [4_usize << 20, 6 << 20, 16 << 20, 64 << 20] {
        for bytes in &components {
            let (wrong, failed, used) = keep(&load(bytes, memory), chunks);
            println!(
                "{} MiB, {} rows: {wrong} wrong, {failed} failed, {} instances replaced, \
                 {} bytes grown per call, peak {} KiB",
                memory >> 20,
                chunks * ROWS,
                used.retired,
                used.growth_per_call(),
                used.peak >> 10,
            );
            assert_eq!((wrong, failed), (0, 0));
        }
    }
}

#[test]
fn h1_a_row_that_alone_takes_more_than_there_is_costs_itself() {
    let hoard = "(loop $on (br_if $on (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))";
    let schema = schema();
    let plugin = load(&component(&[("evil", hoard)]), 8 << 20);
    let mut runner = runner(&plugin, &schema);
    for _ in 0..2 {
        let mut batch = named(&schema, 0);
        batch.keys[217] = ByteString::from_static("evil");
        runner.run(&mut batch).unwrap();
        assert_eq!(failures(&batch), [(217, "PLUGIN_MEMORY")]);
        assert_eq!(
            batch.failures[0].message,
            "exceeded its memory limit of 8 MiB (`plugins.limits.memory`): its answer is not believed"
        );
    }
}

#[test]
fn h1_what_a_refused_call_wrote_to_embeddings_is_undone() {
    // The first call is within the limit, the second one is not, after it has written.
    let evil = "(f32.store (i32.const 65536) (f32.const 7))
        (call $write (local.get $row) (i32.const 112) (i32.const 6) (i32.const 65536) (i32.const 1))";
    let take = "(drop (memory.grow (i32.const 60)))";
    let schema = schema();
    let plugin = load(&component(&[("evil", evil), ("answer", take)]), 6 << 20);
    let mut runner = runner(&plugin, &schema);
    let mut batches = Vec::new();
    for keys in [["a", "b"], ["evil", "b"]] {
        let mut batch = batch(&schema, 2);
        batch.keys = keys.map(ByteString::from_static).to_vec();
        runner.run(&mut batch).unwrap();
        assert!(batch.failures.is_empty());
        batches.push(batch);
    }
    let stats = &runner.stats()[0];
    assert_eq!((stats.calls, stats.memory.retired), (3, 1));
    // The one that counts has written as well, once.
    let written = batches[1].embeddings.get(0, 0).unwrap();
    assert_eq!(written.dimensions(), 1);
    assert_eq!(
        batches[1].embeddings.get(1, 0),
        batches[0].embeddings.get(1, 0)
    );
}

#[test]
fn h1_a_shadow_that_is_refused_memory_shows_no_difference_that_is_not_there() {
    let schema = schema();
    let configured = |plugin| ConfiguredPlugin::new(plugin, Vec::new(), 1).unwrap();
    let engine = Engine::new(Limits::default(), None).unwrap();
    let good = engine.load(&guest("recruit-normalize")).unwrap();
    let chain = Chain::of(vec![ChainEntry {
        active: configured(good),
        shadow: Some(configured(load(&leaky(10_000), 4 << 20))),
    }]);
    let mut runner = chain.unwrap().runner(&schema);
    for chunk in 0..4 {
        runner.run(&mut named(&schema, chunk)).unwrap();
    }
    for comparison in runner.take_comparisons() {
        assert_eq!((comparison.rows, comparison.broken), (300, None));
        assert_eq!(comparison.differences, []);
    }
}

#[test]
fn h5_an_instance_that_leaks_is_replaced_before_it_is_refused_memory() {
    let schema = schema();
    let plugin = load(&leaky(100), 4 << 20);
    let mut runner = runner(&plugin, &schema);
    for chunk in 0..500 {
        runner.run(&mut named(&schema, chunk)).unwrap();
    }
    let stats = &runner.stats()[0];
    // Each call was made once: none was refused.
    assert_eq!((stats.calls, stats.failed_calls), (500, 0));
    let MemoryUse { peak, retired, .. } = stats.memory;
    assert!((5..20).contains(&retired), "{:?}", stats.memory);
    assert!(peak < 3 << 20, "{peak} bytes");
    let growth = stats.memory.growth_per_call();
    assert!((28_000..33_000).contains(&growth), "{growth} bytes");
}

#[test]
fn h5_an_instance_that_takes_most_of_its_memory_once_is_kept() {
    let once =
        "(if (i32.lt_u (memory.size) (i32.const 100)) (then (drop (memory.grow (i32.const 110)))))";
    let schema = schema();
    let plugin = load(&component(&[("answer", once)]), 8 << 20);
    let mut runner = runner(&plugin, &schema);
    for chunk in 0..20 {
        runner.run(&mut named(&schema, chunk)).unwrap();
    }
    let memory = runner.stats()[0].memory;
    assert_eq!((memory.retired, memory.growth_per_call()), (0, 0));
    assert!(memory.last > 7 << 20);
}
