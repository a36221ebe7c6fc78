//! Arithmetic on embeddings in the received buffer: little-endian bytes of any alignment.
//!
//! The code is written so that the compiler can vectorise it without changing the results: sums
//! run in eight fixed lanes.

use bytes::Bytes;
use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::row::Vector;

/// Number of partial sums.
const LANES: usize = 8;

/// Number of f16 elements widened at a time, on the stack.
const WIDEN: usize = 128;

/// Size of the elements in bytes.
pub(super) fn size(vector: &Vector) -> usize {
    match vector {
        Vector::F32(bytes) | Vector::F16(bytes) => bytes.len(),
    }
}

/// The Euclidean norm, summed in f64. Finite elements cannot overflow it.
pub fn norm(vector: &Vector) -> f64 {
    match vector {
        Vector::F32(bytes) => sum_of_squares(bytes).sqrt(),
        Vector::F16(bytes) => {
            let mut sum = 0.0;
            each_widened(bytes, |values| {
                sum += values
                    .iter()
                    .map(|x| f64::from(*x) * f64::from(*x))
                    .sum::<f64>();
            });
            sum.sqrt()
        }
    }
}

fn sum_of_squares(bytes: &[u8]) -> f64 {
    let mut lanes = [0.0_f64; LANES];
    let (groups, rest) = bytes.as_chunks::<{ 4 * LANES }>();
    for group in groups {
        for (lane, x) in lanes.iter_mut().zip(group.as_chunks::<4>().0) {
            let x = f64::from(f32::from_le_bytes(*x));
            *lane += x * x;
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest.as_chunks::<4>().0) {
        let x = f64::from(f32::from_le_bytes(*x));
        *lane += x * x;
    }
    lanes.iter().sum()
}

/// True if all elements are finite: no exponent has all its bits set.
pub(super) fn is_finite(vector: &Vector) -> bool {
    match vector {
        Vector::F32(bytes) => !bytes.as_chunks::<4>().0.iter().fold(false, |found, x| {
            found | (u32::from_le_bytes(*x) & 0x7f80_0000 == 0x7f80_0000)
        }),
        Vector::F16(bytes) => !bytes.as_chunks::<2>().0.iter().fold(false, |found, x| {
            found | (u16::from_le_bytes(*x) & 0x7c00 == 0x7c00)
        }),
    }
}

/// Divides each element; keeps the format.
pub(super) fn divided(vector: &Vector, divisor: f64) -> Vector {
    match vector {
        Vector::F32(bytes) => {
            let mut out = vec![0; bytes.len()];
            let from = bytes.as_chunks::<4>().0;
            for (to, x) in out.as_chunks_mut::<4>().0.iter_mut().zip(from) {
                *to = narrowed(f64::from(f32::from_le_bytes(*x)) / divisor).to_le_bytes();
            }
            Vector::F32(Bytes::from(out))
        }
        Vector::F16(bytes) => {
            let mut out = Vec::with_capacity(bytes.len());
            each_widened(bytes, |values| {
                for x in values {
                    out.extend_from_slice(&f16::from_f64(f64::from(*x) / divisor).to_le_bytes());
                }
            });
            Vector::F16(Bytes::from(out))
        }
    }
}

/// Rounds to the nearest f32.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to the nearest f32 is meant"
)]
pub fn narrowed(x: f64) -> f32 {
    x as f32
}

/// Keeps the first elements, sharing the buffer; `None` if there are no others.
pub(super) fn truncated(vector: &Vector, dimensions: usize) -> Option<Vector> {
    if vector.dimensions() <= dimensions {
        return None;
    }
    Some(match vector {
        Vector::F32(bytes) => Vector::F32(bytes.slice(..4 * dimensions)),
        Vector::F16(bytes) => Vector::F16(bytes.slice(..2 * dimensions)),
    })
}

/// Copies the elements.
pub fn elements(vector: &Vector) -> Vec<f32> {
    let mut out = Vec::with_capacity(vector.dimensions());
    match vector {
        Vector::F32(bytes) => {
            out.extend(
                bytes
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|x| f32::from_le_bytes(*x)),
            );
        }
        Vector::F16(bytes) => each_widened(bytes, |values| out.extend_from_slice(values)),
    }
    out
}

/// Makes an f32 vector of these elements.
pub fn from_elements(values: &[f32]) -> Vector {
    let mut out = vec![0; 4 * values.len()];
    for (to, x) in out.as_chunks_mut::<4>().0.iter_mut().zip(values) {
        *to = x.to_le_bytes();
    }
    Vector::F32(Bytes::from(out))
}

/// Passes on the elements in groups, which `half` converts with the processor's instructions.
fn each_widened(bytes: &[u8], mut take: impl FnMut(&[f32])) {
    let mut narrow = [f16::ZERO; WIDEN];
    let mut wide = [0.0_f32; WIDEN];
    for group in bytes.as_chunks::<2>().0.chunks(WIDEN) {
        for (to, x) in narrow.iter_mut().zip(group) {
            *to = f16::from_le_bytes(*x);
        }
        if let (Some(narrow), Some(wide)) = (narrow.get(..group.len()), wide.get_mut(..group.len()))
        {
            narrow.convert_to_f32_slice(wide);
            take(wide);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;

    fn f32s(values: &[f32]) -> Vector {
        from_elements(values)
    }

    fn f16s(values: &[f32]) -> Vector {
        let bytes = values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes());
        Vector::F16(bytes.collect::<Vec<_>>().into())
    }

    #[test]
    fn norms_are_euclidean() {
        for make in [f32s, f16s] {
            assert_eq!(norm(&make(&[])), 0.0);
            assert_eq!(norm(&make(&[3.0, 4.0])), 5.0);
            // 1,024 ones fill all lanes and groups.
            assert_eq!(norm(&make(&[1.0; 1_024])), 32.0);
            assert_eq!(norm(&make(&[2.0; 9])), 6.0);
        }
        // Squares outside the range of f32.
        for scale in [1e37_f32, 1e-30] {
            let exact = f64::from(3.0 * scale).hypot(f64::from(4.0 * scale));
            let found = norm(&f32s(&[3.0 * scale, 4.0 * scale]));
            assert!((found / exact - 1.0).abs() < 1e-15, "{found} for {exact}");
        }
    }

    #[test]
    fn unaligned_slices_are_read() {
        let mut bytes = vec![0_u8];
        bytes.extend([3.0_f32, 4.0].iter().flat_map(|x| x.to_le_bytes()));
        assert_eq!(norm(&Vector::F32(Bytes::from(bytes).slice(1..))), 5.0);
    }

    #[test]
    fn finds_what_is_not_finite() {
        for make in [f32s, f16s] {
            assert!(is_finite(&make(&[])));
            assert!(is_finite(&make(&[0.0, -1.0, 60_000.0, 1e-7])));
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut values = vec![1.0; 300];
                values[299] = bad;
                assert!(!is_finite(&make(&values)), "{bad}");
            }
        }
        assert!(is_finite(&f32s(&[f32::MAX, f32::MIN, f32::MIN_POSITIVE])));
    }

    #[test]
    fn divides_in_the_same_format() {
        assert_eq!(divided(&f32s(&[3.0, 4.0]), 5.0), f32s(&[0.6, 0.8]));
        assert_eq!(divided(&f16s(&[3.0, 4.0]), 5.0), f16s(&[0.6, 0.8]));
    }

    #[test]
    fn truncates_without_copying() {
        for make in [f32s, f16s] {
            let vector = make(&[1.0, 2.0, 3.0]);
            assert_eq!(truncated(&vector, 2), Some(make(&[1.0, 2.0])));
            assert_eq!(truncated(&vector, 3), None);
            assert_eq!(truncated(&vector, usize::MAX), None);
        }
    }

    #[test]
    fn reads_back_what_was_written() {
        let values: Vec<f32> = (0..300_u16).map(f32::from).collect();
        assert_eq!(elements(&f32s(&values)), values);
        assert_eq!(elements(&f16s(&values)), values);
    }
}
