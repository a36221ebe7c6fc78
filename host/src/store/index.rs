//! Vector indexes of the target tables: suspended while a run loads, and restored afterwards.
//!
//! Every new row of a table with an HNSW index costs a search of its graph, some milliseconds.
//! Building the same graph at once takes a fraction of that. So an index can be suspended before
//! a load ([`suspend`]) and restored after it ([`restore`]), in one of three manners:
//!
//! - *defer* drops it. Searches are without it until it is built.
//! - *beside* leaves it in its place, and rows enter it with the least effort
//!   (`ef_construction = 4`): what it holds is found as before, and most of what is new. At the end
//!   `REINDEX CONCURRENTLY` builds a successor with the index's own setting and swaps the two. It
//!   needs no more than owning the table. An access method without such a setting is maintained
//!   as ever.
//! - *frozen* marks it as not ready (`pg_index.indisready`), and leaves it valid: the server no
//!   longer enters new row versions, and searches continue to use it. That takes a superuser. It is
//!   rebuilt in the same way.
//!
//! Meanwhile VACUUM would repair a graph with the least effort, and lose rows of it; a frozen index it
//! would skip, and free the line pointers that it still holds, which would then lead to other rows.
//! So the table's `vacuum_index_cleanup` is off until the index is restored. That is a storage
//! parameter, which outlives a host that dies, and which automatic and manual VACUUM respect.
//!
//! A partitioned index is dropped as a whole, and put back partition by partition, the deepest
//! first; `CREATE INDEX` on the partitioned table then finds the parts. It is rebuilt partition by
//! partition.
//!
//! **Invariant**: the note in `forebay.index_work` is written by the transaction that suspends
//! the index, and removed only when the index is restored. Several runs may load while an index is
//! suspended; the last of them restores it.
//!
//! **Bounds**: a build takes at most the memory that the configuration allows, or the server's own
//! `maintenance_work_mem` where that is more, and at most as many workers as the server's
//! `max_parallel_maintenance_workers`.

pub mod build;
mod create;
pub mod estimate;
mod history;
mod manner;
mod prewarm;
mod rebuild;
pub mod restore;
pub mod suspend;
mod vector_index;
mod work;

pub use self::history::LastRun;
pub use self::manner::Manner;
pub use self::vector_index::VectorIndex;
pub use self::work::{Whereabouts, Work};
