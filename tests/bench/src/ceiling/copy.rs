//! The loop itself.

use std::sync::{Arc, Barrier};
use std::time::Instant;

use anyhow::{Context, ensure};
use forebay::proto::Row;
use forebay::report::Usage;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::encode::{Chunk, TABLES};
use super::{CHUNK_ROWS, Copy, Took};

/// What is sent at once: fits into a processor's cache, and the server takes in one portion while
/// the next is on its way.
const PORTION: usize = 128 << 10;

/// Encodes, connects, then copies, and says what that took.
pub(crate) fn copy(url: &str, copy: &Copy) -> anyhow::Result<()> {
    let mut shares: Vec<Vec<Chunk>> = (0..copy.connections).map(|_| Vec::new()).collect();
    let rows: Vec<Row> = copy.shape.postings(0..copy.shape.rows)?.collect();
    for (place, rows) in rows.chunks(CHUNK_ROWS).enumerate() {
        let share = shares.get_mut(place % copy.connections);
        share
            .context("at least one connection")?
            .push(Chunk::of(rows, copy.column)?);
    }
    drop(rows);
    let ready = Arc::new(Barrier::new(copy.connections + 1));
    let threads = shares.into_iter().map(|share| {
        let (url, ready) = (url.to_owned(), Arc::clone(&ready));
        std::thread::spawn(move || connection(&url, &share, &ready))
    });
    let threads: Vec<_> = threads.collect();
    // All are connected; the clock starts before the first of them goes on.
    ready.wait();
    let (began, usage) = (Instant::now(), Usage::now());
    ready.wait();
    for thread in threads {
        thread.join().ok().context("a connection panicked")??;
    }
    let copied = began.elapsed();
    if !copy.then.is_empty() {
        runtime()?.block_on(async {
            let mut connection = PgConnection::connect(url).await?;
            let then = AssertSqlSafe(copy.then.clone());
            sqlx::raw_sql(then).execute(&mut connection).await?;
            connection.close().await
        })?;
    }
    let took = Took {
        seconds: began.elapsed().as_secs_f64(),
        cpu_seconds: (Usage::now().cpu - usage.cpu).as_secs_f64(),
        then_seconds: (began.elapsed() - copied).as_secs_f64(),
    };
    println!("{}", serde_json::to_string(&took)?);
    Ok(())
}

/// One thread, one connection, one share of the chunks.
fn connection(url: &str, share: &[Chunk], ready: &Barrier) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let connected = runtime.block_on(PgConnection::connect(url));
    // Whoever waits is let go even when this connection has failed.
    ready.wait();
    ready.wait();
    let mut connection = connected?;
    let statements = TABLES.map(|table| format!("copy {table} from stdin (format binary)"));
    runtime.block_on(async {
        for chunk in share {
            let mut transaction = connection.begin().await?;
            for (statement, data) in statements.iter().zip(&chunk.tables) {
                let mut copy = transaction.copy_in_raw(statement).await?;
                for portion in data.chunks(PORTION) {
                    copy.send(portion).await?;
                }
                let rows = copy.finish().await?;
                ensure!(rows == chunk.rows, "{rows} of {} rows came in", chunk.rows);
            }
            transaction.commit().await?;
        }
        Ok(())
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    Ok(builder.enable_all().build()?)
}
