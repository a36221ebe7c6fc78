//! Whether a file is the one that a position belongs to.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;

use xxhash_rust::xxh3::Xxh3;

/// Bytes that are looked at, at either end: the footer of a Parquet file is at its end.
const SAMPLE: u64 = 64 << 10;

/// Sixteen digits in hexadecimal, of the length, the time of the last change, and the bytes at either
/// end. Equal for a file that has not changed.
///
/// # Errors
/// If the file cannot be read.
pub fn identity(file: &File) -> io::Result<String> {
    let metadata = file.metadata()?;
    let length = metadata.len();
    let mut hasher = Xxh3::new();
    for part in [
        length.cast_signed(),
        metadata.mtime(),
        metadata.mtime_nsec(),
    ] {
        hasher.update(&part.to_le_bytes());
    }
    let mut sample = vec![0; usize::try_from(SAMPLE.min(length)).unwrap_or_default()];
    file.read_exact_at(&mut sample, 0)?;
    hasher.update(&sample);
    file.read_exact_at(&mut sample, length.saturating_sub(SAMPLE))?;
    hasher.update(&sample);
    Ok(format!("{:016x}", hasher.digest()))
}
