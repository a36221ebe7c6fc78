//! Vectors in clusters: postings with the same keyword and similar years of experience are near
//! each other.
//!
//! An element is `(centre[keyword] + years * axis + noise) / 2^20`, its numerator an integer
//! below 2^17. So it is exact in binary32, and the same wherever it is computed.

use super::hash::{Purpose, Seed};

/// Years above this limit do not change a vector.
const MAX_YEARS: u64 = 20;
/// Factor from the integer numerator to an element. Puts the norm of 1536 elements near 1.
const SCALE: f32 = 1.0 / (1 << 20) as f32;

/// Positions of the clusters.
#[derive(Debug)]
pub(super) struct Geometry {
    /// Centre of the cluster of each keyword: lanes of 16 bits, the whole range.
    centres: Vec<Vec<i16>>,
    /// Offset of a vector for each year: lanes of 11 bits, so that one year is well within the
    /// noise and five are outside of it.
    axis: Vec<i16>,
}

impl Geometry {
    pub(super) fn new(seed: Seed, keywords: usize, dimensions: usize) -> Self {
        let lanes = |purpose, index| Seed(seed.draw(purpose, index)).lanes(dimensions);
        Self {
            centres: (0..keywords as u64)
                .map(|index| lanes(Purpose::Centre, index))
                .collect(),
            axis: lanes(Purpose::Axis, 0)
                .iter()
                .map(|lane| lane >> 5)
                .collect(),
        }
    }

    pub(super) fn dimensions(&self) -> usize {
        self.axis.len()
    }

    /// The vector of a posting as the little-endian bytes of its elements. `noise` is the seed of
    /// its offset within the cluster.
    pub(super) fn vector(&self, keyword: usize, years: u64, noise: Seed) -> Vec<u8> {
        let years = years.min(MAX_YEARS) as i16;
        let noise = noise.lanes(self.dimensions());
        let centre = self.centres.get(keyword).map_or(&[][..], Vec::as_slice);
        let mut bytes = vec![0; centre.len() * 4];
        let (elements, _) = bytes.as_chunks_mut::<4>();
        // One pass over slices of equal length, which the compiler turns into vector code.
        for (((element, centre), axis), noise) in
            elements.iter_mut().zip(centre).zip(&self.axis).zip(&noise)
        {
            // The offset from the centre fits into 16 bits: 20 * 2^10 + 2^13.
            let offset = years * *axis + (*noise >> 2);
            let sum = i32::from(*centre) + i32::from(offset);
            *element = (sum as f32 * SCALE).to_le_bytes();
        }
        bytes
    }
}
