//! Lists of numbers.

use bytes::{BufMut, BytesMut};

/// The numbers of a list, as they are written; `None` if the text is no list.
pub(crate) fn numbers(list: &str) -> Option<impl Iterator<Item = &str>> {
    let inner = list.trim().strip_prefix('[')?.strip_suffix(']')?.trim();
    let items = (!inner.is_empty()).then(|| inner.split(','));
    Some(items.into_iter().flatten().map(str::trim))
}

/// Appends the elements of a list of numbers.
///
/// # Errors
/// What is wrong with the list.
pub(crate) fn append_f32(list: &str, into: &mut BytesMut) -> Result<(), String> {
    let numbers = numbers(list).ok_or("is not a list of numbers")?;
    for (index, number) in numbers.enumerate() {
        let element: f32 = match number {
            "NaN" => f32::NAN,
            "Infinity" => f32::INFINITY,
            "-Infinity" => f32::NEG_INFINITY,
            "null" => return Err(format!("has a null at element {index}")),
            _ if !number.starts_with(|it: char| it == '-' || it.is_ascii_digit()) => {
                return Err(format!("has no number at element {index}"));
            }
            _ => {
                let parsed = number.parse();
                parsed.map_err(|_| format!("has no number at element {index}"))?
            }
        };
        into.put_f32_le(element);
    }
    Ok(())
}
