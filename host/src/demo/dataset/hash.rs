//! Random numbers that are a function of their purpose and index: splitmix64, which needs only
//! 64-bit integers and therefore gives the same numbers in every language.
//!
//! Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.

/// The increment of splitmix64.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Start of a sequence of random words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(pub(super) u64);

/// Purpose of a random word, so that draws do not depend on each other. The numbers are shared
/// with `create_test_data.py`.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(super) enum Purpose {
    KeyHigh = 1,
    KeyLow = 2,
    Region = 3,
    Stem = 4,
    Company = 5,
    Years = 6,
    English = 7,
    Keyword = 8,
    Spelling = 9,
    Title = 10,
    Location = 11,
    Posted = 12,
    Skills = 13,
    Dirt = 14,
    DirtyElement = 15,
    Noise = 16,
    Centre = 17,
    Axis = 18,
}

impl Seed {
    /// The word for a purpose at an index.
    pub(super) fn draw(self, purpose: Purpose, index: u64) -> u64 {
        let stream = Self(mix(self
            .0
            .wrapping_add((purpose as u64).wrapping_mul(GAMMA))));
        stream.word(index)
    }

    /// Signed 16-bit lanes, four from each word of the sequence, lowest bits first.
    pub(super) fn lanes(self, count: usize) -> Vec<i16> {
        let mut lanes = vec![0; count.next_multiple_of(4)];
        for (index, four) in lanes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let word = self.word(index as u64);
            *four = [word, word >> 16, word >> 32, word >> 48].map(|lane| lane as i16);
        }
        lanes.truncate(count);
        lanes
    }

    /// The word at an index of the sequence.
    fn word(self, index: u64) -> u64 {
        mix(self.0.wrapping_add((index + 1).wrapping_mul(GAMMA)))
    }
}

/// The output function of splitmix64.
fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
