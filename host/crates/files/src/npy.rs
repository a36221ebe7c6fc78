//! Arrays of NumPy (format versions 1 to 3): a row of the array for each row of the file beside it.
//!
//! `docs.npy` beside `docs.jsonl` is the embedding `embedding`; `docs.NAME.npy` is the embedding
//! `NAME`. Arrays of f16 are taken as they are, f32 too, f64 is narrowed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use forebay_plugin_host::row::Vector;

use crate::FileError;

/// The name of an embedding whose file has none.
const EMBEDDING: &str = "embedding";

/// An array.
#[derive(Debug)]
pub(crate) struct Array {
    path: PathBuf,
    file: File,
    /// Name of the embedding.
    pub name: Arc<str>,
    pub rows: u64,
    pub dimensions: usize,
    /// Where its elements begin, and bytes of an element.
    data: u64,
    width: usize,
}

/// The arrays beside a file, in the order of their names.
pub(crate) fn beside(path: &Path) -> Result<Vec<Array>, FileError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = ["gz", "zst"]
        .iter()
        .find_map(|ending| name.strip_suffix(&format!(".{ending}")))
        .unwrap_or(&name);
    let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).map_err(|error| FileError::io(folder, &error))?;
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(stem));
        match rest.and_then(|rest| rest.strip_suffix(".npy")) {
            Some("") => found.push((EMBEDDING.to_owned(), entry.path())),
            Some(name) if name.starts_with('.') && name.len() > 1 => {
                found.push((name.trim_start_matches('.').to_owned(), entry.path()));
            }
            _ => {}
        }
    }
    found.sort();
    found
        .into_iter()
        .map(|(name, path)| Array::open(&name, path))
        .collect()
}

impl Array {
    fn open(name: &str, path: PathBuf) -> Result<Self, FileError> {
        let io = |error: std::io::Error| FileError::io(&path, &error);
        let file = File::open(&path).map_err(io)?;
        let mut start = [0; 12];
        file.read_exact_at(&mut start, 0).map_err(io)?;
        let [0x93, b'N', b'U', b'M', b'P', b'Y', version, _, a, b, c, d] = start else {
            return Err(FileError::new(&path, "is not a file of NumPy"));
        };
        let (begin, length) = match version {
            1 => (10, u64::from(u16::from_le_bytes([a, b]))),
            _ => (12, u64::from(u32::from_le_bytes([a, b, c, d]))),
        };
        let mut header = vec![0; usize::try_from(length.min(1 << 20)).unwrap_or_default()];
        file.read_exact_at(&mut header, begin).map_err(io)?;
        let header = String::from_utf8_lossy(&header).into_owned();
        let (width, rows, dimensions) = shape(&header).map_err(|message| {
            FileError::new(&path, message).hint(
                "write it with numpy.save(path, array.astype(\"float32\")), a row for each row beside it",
            )
        })?;
        let this = Self {
            name: name.into(),
            rows,
            dimensions: usize::try_from(dimensions).unwrap_or(usize::MAX),
            data: begin + length,
            width,
            file,
            path: path.clone(),
        };
        let elements = rows.checked_mul(dimensions);
        let bytes = elements.and_then(|it| it.checked_mul(width as u64));
        let there = this
            .file
            .metadata()
            .map_err(io)?
            .len()
            .saturating_sub(this.data);
        match bytes {
            Some(bytes) if bytes <= there => Ok(this),
            _ => Err(FileError::new(&path, "is cut off").hint("write it again")),
        }
    }

    /// The vectors of `rows` rows from `first` on; none beyond the end.
    pub(crate) fn read(&self, first: u64, rows: usize) -> Result<Vec<Option<Vector>>, FileError> {
        let there = usize::try_from(self.rows.saturating_sub(first)).unwrap_or(usize::MAX);
        let size = self.dimensions * self.width;
        let mut bytes = vec![0; there.min(rows) * size];
        let at = self.data + first * size as u64;
        let read = self.file.read_exact_at(&mut bytes, at);
        read.map_err(|error| FileError::io(&self.path, &error))?;
        if self.width == 8 {
            let (elements, _) = bytes.as_chunks::<8>();
            let narrowed = elements
                .iter()
                .flat_map(|it| (f64::from_le_bytes(*it) as f32).to_le_bytes());
            bytes = narrowed.collect();
        }
        let size = self.dimensions * self.width.min(4);
        let mut bytes = Bytes::from(bytes);
        let vectors = (0..rows).map(|row| {
            (row < there).then(|| match self.width {
                2 => Vector::F16(bytes.split_to(size)),
                _ => Vector::F32(bytes.split_to(size)),
            })
        });
        Ok(vectors.collect())
    }
}

/// Bytes of an element, rows, and elements of a row, as a header says them.
fn shape(header: &str) -> Result<(usize, u64, u64), &'static str> {
    let width = match after(header, "'descr':").and_then(|it| it.strip_prefix('\'')) {
        Some(it) if it.starts_with("<f2") => 2,
        Some(it) if it.starts_with("<f4") => 4,
        Some(it) if it.starts_with("<f8") => 8,
        _ => return Err("its elements are not f16, f32 or f64 in little endian"),
    };
    if !after(header, "'fortran_order':").is_some_and(|it| it.starts_with("False")) {
        return Err("its rows are not one after the other (Fortran order)");
    }
    let shape = after(header, "'shape':").and_then(|it| it.strip_prefix('('));
    let shape = shape
        .and_then(|it| it.split(')').next())
        .unwrap_or_default();
    let shape: Vec<u64> = shape
        .split(',')
        .filter_map(|it| it.trim().parse().ok())
        .collect();
    match shape.as_slice() {
        [rows, dimensions] => Ok((width, *rows, *dimensions)),
        _ => Err("it does not have two dimensions, rows and elements"),
    }
}

/// What follows a name in the header.
fn after<'h>(header: &'h str, name: &str) -> Option<&'h str> {
    header.split_once(name).map(|(_, rest)| rest.trim_start())
}
