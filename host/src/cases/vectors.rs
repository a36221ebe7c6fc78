//! Generates, measures and compares the vectors of cases.

use bytes::Bytes;
use half::f16;

use crate::row::Vector;

pub(super) use crate::plugin::vectors::{elements, from_elements as f32s, narrowed, norm};

/// Tolerance for an expected norm.
pub(super) const NORM_TOLERANCE: f64 = 1e-4;

/// Tolerance for an expected element, relative to it if its magnitude is over 1.
const ELEMENT_TOLERANCE: f32 = 1e-6;

/// The increment of splitmix64.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Encodes a vector of f16 elements.
pub(super) fn f16s(elements: &[f32]) -> Vector {
    let mut bytes = vec![0; 2 * elements.len()];
    for (to, x) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(elements) {
        *to = f16::from_f32(*x).to_le_bytes();
    }
    Vector::F16(Bytes::from(bytes))
}

/// The encoded elements.
pub(super) fn bytes(vector: &Vector) -> &Bytes {
    match vector {
        Vector::F32(bytes) | Vector::F16(bytes) => bytes,
    }
}

/// True if two vectors have the same elements within rounding, in any format.
pub(super) fn agree(a: &Vector, b: &Vector) -> bool {
    let (a, b) = (elements(a), elements(b));
    let near = |(a, b): (&f32, &f32)| {
        let same = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()) || a == b;
        let gap = (a - b).abs();
        same || gap.is_finite() && gap <= ELEMENT_TOLERANCE * a.abs().max(1.0)
    };
    a.len() == b.len() && a.iter().zip(&b).all(near)
}

/// Generates elements from the seed: uniform in -1 to 1, then scaled to the norm if one is given.
/// Uses splitmix64 (Steele, Lea and Flood, 2014), so that existing files keep their meaning.
pub(super) fn random(seed: u64, dimensions: usize, norm: Option<f64>) -> Vector {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(GAMMA);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // An f32 holds 24 bits.
        let bits = ((word ^ (word >> 31)) >> 40) as u32;
        f64::from(bits) / f64::from(1_u32 << 23) - 1.0
    };
    let elements: Vec<f64> = (0..dimensions).map(|_| next()).collect();
    let length = elements.iter().map(|x| x * x).sum::<f64>().sqrt();
    let scale = match norm {
        Some(norm) if length > 0.0 => norm / length,
        _ => 1.0,
    };
    let elements: Vec<f32> = elements.iter().map(|x| narrowed(x * scale)).collect();
    f32s(&elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_vectors_are_a_function_of_their_seed() {
        // Existing files depend on these numbers, so they must never change.
        let expected = f32s(&[0.13312304, 0.49156344, 0.9420054]);
        assert!(
            agree(&random(1, 3, None), &expected),
            "{:?}",
            elements(&random(1, 3, None))
        );
        assert_eq!(random(7, 1_536, Some(2.0)), random(7, 1_536, Some(2.0)));
        assert!((norm(&random(7, 1_536, Some(2.0))) - 2.0).abs() < 1e-6);
        assert!(
            elements(&random(7, 10_000, None))
                .iter()
                .all(|x| (-1.0..1.0).contains(x))
        );
    }

    #[test]
    fn vectors_agree_but_for_rounding() {
        for (a, b, expected) in [
            (vec![0.6, 0.8], vec![0.6000001, 0.8], true),
            (vec![0.6, 0.8], vec![0.60001, 0.8], false),
            (vec![1e9], vec![1.0000001e9], true),
            (
                vec![f32::NAN, f32::INFINITY],
                vec![f32::NAN, f32::INFINITY],
                true,
            ),
            (vec![f32::INFINITY], vec![f32::NEG_INFINITY], false),
            (vec![1.0], vec![1.0, 1.0], false),
        ] {
            assert_eq!(agree(&f32s(&a), &f32s(&b)), expected, "{a:?} {b:?}");
        }
        assert!(agree(&f16s(&[0.5, 2.0]), &f32s(&[0.5, 2.0])));
    }
}
