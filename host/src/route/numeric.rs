//! `numeric` in PostgreSQL's binary format, made from the decimal text of a number.
//!
//! Four 16-bit integers: the number of digits, the weight of the first, the sign, and the number
//! of decimal digits shown after the point. The digits follow, to the base of 10,000
//! (`numeric_recv` in the PostgreSQL sources).

use std::io::Write;

use crate::row::Value;

/// Maximum number of decimal digits before and after the point (PostgreSQL documentation, "Numeric Types").
const MAX_WHOLE: i64 = 131_072;
const MAX_FRACTION: i64 = 16_383;

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const MINUS_INFINITY: u16 = 0xF000;

/// A parsed number.
#[derive(Debug, Clone, Copy)]
enum Number<'t> {
    Special(u16),
    Finite(Decimal<'t>),
}

#[derive(Debug, Clone, Copy)]
struct Decimal<'t> {
    sign: u16,
    /// Digits, with at most one point between or beside them.
    mantissa: &'t [u8],
    /// Power of ten.
    exponent: i64,
}

/// The reason why a text is not a number that can be stored, as a code and a message.
pub(super) fn fault(text: &str) -> Option<(&'static str, String)> {
    match parse(text.as_bytes()) {
        None => Some(("VALUE_TYPE", "received a text that is not a number".into())),
        Some(Number::Finite(decimal)) if !decimal.fits() => Some((
            "VALUE_RANGE",
            "received a number with too many digits".into(),
        )),
        Some(_) => None,
    }
}

/// Writes a number. Texts have been checked by [`fault`].
pub(crate) fn put(buffer: &mut Vec<u8>, value: &Value) {
    // An integer has at most 20 characters, the shortest text of a double 24.
    let mut space = [0; 32];
    let mut rest = space.as_mut_slice();
    let written = match value {
        Value::Text(text) => return put_text(buffer, text.as_bytes()),
        Value::Integer(integer) => write!(rest, "{integer}"),
        Value::Real(real) => write!(rest, "{real:e}"),
        _ => Ok(()),
    };
    let unused = rest.len();
    if let (Ok(()), Some(text)) = (written, space.get(..32 - unused)) {
        put_text(buffer, text);
    }
}

fn put_text(buffer: &mut Vec<u8>, text: &[u8]) {
    match parse(text) {
        Some(Number::Finite(decimal)) => decimal.put(buffer),
        Some(Number::Special(sign)) => put_all(buffer, &[0, 0, sign, 0]),
        None => {}
    }
}

fn put_all(buffer: &mut Vec<u8>, numbers: &[u16]) {
    for number in numbers {
        buffer.extend_from_slice(&number.to_be_bytes());
    }
}

fn parse(text: &[u8]) -> Option<Number<'_>> {
    let text = text.trim_ascii();
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if text.eq_ignore_ascii_case(b"nan") {
        return Some(Number::Special(NAN));
    }
    if rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity") {
        let sign = if negative { MINUS_INFINITY } else { INFINITY };
        return Some(Number::Special(sign));
    }
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'e' | b'E'))
        .unwrap_or(rest.len());
    let (mantissa, exponent) = rest.split_at_checked(end)?;
    let exponent = match exponent.get(1..) {
        // The range of `i32` is far beyond what fits, and sums of it do not overflow an `i64`.
        Some(exponent) => i64::from(std::str::from_utf8(exponent).ok()?.parse::<i32>().ok()?),
        None => 0,
    };
    let digits = mantissa.iter().filter(|byte| byte.is_ascii_digit()).count();
    let points = mantissa.iter().filter(|byte| **byte == b'.').count();
    (digits > 0 && points <= 1 && digits + points == mantissa.len()).then_some(Number::Finite(
        Decimal {
            sign: if negative { NEGATIVE } else { POSITIVE },
            mantissa,
            exponent,
        },
    ))
}

impl<'t> Decimal<'t> {
    /// Number of digits before and after the point of the mantissa.
    fn halves(&self) -> (usize, usize) {
        let point = self.mantissa.iter().position(|byte| *byte == b'.');
        match point {
            Some(point) => (point, self.mantissa.len() - point - 1),
            None => (self.mantissa.len(), 0),
        }
    }

    fn digits(&self) -> impl DoubleEndedIterator<Item = u16> + use<'t> {
        let digits = self.mantissa.iter().filter(|byte| **byte != b'.');
        digits.map(|byte| u16::from(byte - b'0'))
    }

    /// Number of decimal digits shown after the point.
    fn scale(&self) -> i64 {
        (self.halves().1 as i64 - self.exponent).max(0)
    }

    /// Number of decimal digits before the point, without leading zeros; negative where zeros
    /// follow the point.
    fn whole(&self) -> i64 {
        let leading = self.digits().take_while(|digit| *digit == 0).count();
        self.halves().0 as i64 + self.exponent - leading as i64
    }

    fn fits(&self) -> bool {
        self.scale() <= MAX_FRACTION && self.whole() <= MAX_WHOLE
    }

    fn put(&self, buffer: &mut Vec<u8>) {
        let scale = self.scale() as u16;
        let leading = self.digits().take_while(|digit| *digit == 0).count();
        let trailing = self.digits().rev().take_while(|digit| *digit == 0).count();
        let count = self.digits().count();
        if leading == count {
            return put_all(buffer, &[0, 0, POSITIVE, scale]);
        }
        let significant = count - leading - trailing;
        let whole = self.whole();
        let weight = (whole - 1).div_euclid(4);
        // Zeros that fill up the first group of four.
        let before = ((weight + 1) * 4 - whole) as usize;
        let groups = (before + significant).div_ceil(4);
        put_all(
            buffer,
            &[groups as u16, weight as i16 as u16, self.sign, scale],
        );
        let mut digits = self.digits().skip(leading).take(significant);
        let mut place = before;
        for _ in 0..groups {
            let mut group = 0;
            for _ in place..4 {
                group = group * 10 + digits.next().unwrap_or(0);
            }
            place = 0;
            buffer.extend_from_slice(&group.to_be_bytes());
        }
    }
}
