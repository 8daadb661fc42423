//! Equality of strings where it is hot: in a guest whose instructions are counted. No other text functions.

const WORD: usize = 8;

/// Equal text. In a metered guest the `memcmp` behind `==` is a loop over bytes that pays for the meter at every step;
/// here eight bytes are compared at a time, after the lengths.
#[must_use]
#[inline]
pub fn same(left: &str, right: &str) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let (left, left_rest) = left.as_bytes().as_chunks::<WORD>();
    let (right, right_rest) = right.as_bytes().as_chunks::<WORD>();
    let words = left.iter().zip(right).all(|(l, r)| u64::from_le_bytes(*l) == u64::from_le_bytes(*r));
    words && left_rest.iter().zip(right_rest).all(|(l, r)| l == r)
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn agrees_with_the_operator_at_every_length_and_place_of_difference() {
        let long = "istio.io/use-waypoint-namespace";
        for length in 0..=long.len() {
            let text = &long[..length];
            assert!(same(text, text), "{text}");
            assert!(!same(text, &long[..length / 2]) || length == 0, "{text}");
            for place in 0..length {
                let mut other = text.to_owned().into_bytes();
                other[place] = b'#';
                let other = String::from_utf8(other).unwrap();
                assert!(!same(text, &other), "{text} {other}");
            }
        }
    }
}
