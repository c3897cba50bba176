//! Decimal128 in its binary integer form, as BSON stores it
//! ([specification](https://github.com/mongodb/specifications/blob/master/source/bson-decimal128/decimal128.md)).

use crate::json::Number;

const MAX_DIGITS: usize = 34;
const MIN_EXPONENT: i32 = -6176;
const MAX_EXPONENT: i32 = 6111;

/// The number's 128 bits, or `None` when it needs more than 34 digits or a larger exponent: never rounded.
#[must_use]
pub fn decimal128(number: &Number) -> Option<u128> {
    if number.digits.len() > MAX_DIGITS {
        return None;
    }
    let mut coefficient = std::str::from_utf8(&number.digits).ok()?.parse::<u128>().unwrap_or(0);
    let mut exponent = number.exponent;
    // A large exponent can move into the coefficient's spare digits ("clamping"): the value stays the same.
    let mut spare = MAX_DIGITS - number.digits.len();
    while exponent > MAX_EXPONENT && spare > 0 {
        coefficient *= 10;
        exponent -= 1;
        spare -= 1;
    }
    if !(MIN_EXPONENT..=MAX_EXPONENT).contains(&exponent) {
        return None;
    }
    let biased = u128::from((exponent - MIN_EXPONENT).unsigned_abs());
    // 34 digits stay below 2^113, so the second form of the encoding is never needed.
    Some((u128::from(number.negative) << 127) | (biased << 113) | coefficient)
}
