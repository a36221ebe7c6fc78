//! Whether the position of a stream moves.
//!
//! A position that comes again stands for rows that come again: the stream would never end, and
//! each of its chunks would look like progress. A position that has come before is found in
//! constant memory, by comparing with one that is replaced after 1, 2, 4, 8 … chunks (Brent's
//! algorithm): after at most three times the length of the circle.

/// The position of a stream.
#[derive(Debug)]
pub(super) struct Position {
    last: String,
    /// An earlier position, the number of chunks since, and how many there may be.
    earlier: String,
    since: u64,
    most: u64,
}

/// How a position differs from those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is a new one.
    Forward,
    /// It is the one before.
    Still,
    /// It is one that came so many chunks ago.
    Back(u64),
}

impl Position {
    /// A stream that is opened at a position.
    pub(super) fn new(position: &str) -> Self {
        Self {
            last: position.to_owned(),
            earlier: position.to_owned(),
            since: 0,
            most: 1,
        }
    }

    /// Moves to the position after the next chunk.
    pub(super) fn step(&mut self, position: &str) -> Step {
        if position == self.last {
            return Step::Still;
        }
        self.since += 1;
        if position == self.earlier {
            return Step::Back(self.since);
        }
        position.clone_into(&mut self.last);
        if self.since == self.most {
            position.clone_into(&mut self.earlier);
            self.most *= 2;
            self.since = 0;
        }
        Step::Forward
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i5_a_position_that_moves_is_never_an_error() {
        let mut position = Position::new("");
        for number in 0..10_000 {
            assert_eq!(position.step(&number.to_string()), Step::Forward);
        }
        assert_eq!(position.step("9999"), Step::Still);
        assert_eq!(position.step("10000"), Step::Forward);
    }

    #[test]
    fn i5_a_circle_of_any_length_is_found() {
        for before in [0_u64, 1, 7, 100] {
            for length in [2_u64, 3, 8, 1_000] {
                let mut position = Position::new("");
                let numbers = (0..before).chain((before..before + length).cycle());
                let steps = numbers.map(|number| position.step(&number.to_string()));
                let found = steps.enumerate().find(|(_, step)| *step != Step::Forward);
                let (at, step) = found.unwrap_or((0, Step::Forward));
                assert_eq!(step, Step::Back(length), "{before} {length}");
                assert!(
                    at as u64 <= 3 * (before + length),
                    "{before} {length}: {at}"
                );
            }
        }
    }
}
