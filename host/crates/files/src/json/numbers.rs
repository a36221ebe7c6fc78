//! Lists of numbers.

use bytes::{BufMut, BytesMut};

/// The reason why a value is not what it should be: a code and a message.
pub(crate) type Wrong = (&'static str, String);

fn no_list(message: String) -> Wrong {
    ("FIELD_TYPE", message)
}

fn no_number(element: usize) -> Wrong {
    no_list(format!("has no number at element {element}"))
}

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
pub(crate) fn append_f32(list: &str, into: &mut BytesMut) -> Result<(), Wrong> {
    let numbers = numbers(list).ok_or_else(|| no_list("is not a list of numbers".into()))?;
    for (index, number) in numbers.enumerate() {
        let element: f32 = match number {
            "NaN" => f32::NAN,
            "Infinity" => f32::INFINITY,
            "-Infinity" => f32::NEG_INFINITY,
            "null" => {
                return Err((
                    "EMBEDDING_NOT_FINITE",
                    format!("has a null at element {index}"),
                ));
            }
            _ if !number.starts_with(|it: char| it == '-' || it.is_ascii_digit()) => {
                return Err(no_number(index));
            }
            _ => {
                let parsed = number.parse();
                parsed.map_err(|_| no_number(index))?
            }
        };
        into.put_f32_le(element);
    }
    Ok(())
}
