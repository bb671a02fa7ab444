//! Bytes as text in JSON: standard base64 with padding.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let letter = usize::try_from(bits >> shift & 63).ok().and_then(|value| ALPHABET.get(value));
            text.push(match letter {
                Some(letter) if place <= chunk.len() => char::from(*letter),
                _ => '=',
            });
        }
    }
    text
}

/// `None` for anything but padded standard base64.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let letters = text.trim_end_matches('=');
    let padding = text.len() - letters.len();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for chunk in letters.as_bytes().chunks(4) {
        let mut bits = 0;
        for place in 0..4 {
            let value = match chunk.get(place) {
                Some(letter) => ALPHABET.iter().position(|candidate| candidate == letter)?,
                None => 0,
            };
            bits = bits << 6 | u32::try_from(value).ok()?;
        }
        let [_, decoded @ ..] = bits.to_be_bytes();
        bytes.extend(decoded.iter().take(chunk.len() - 1));
    }
    Some(bytes)
}

pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&encode(bytes))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    decode(&text).ok_or_else(|| D::Error::custom("not base64"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(b"", "")]
    #[case(b"f", "Zg==")]
    #[case(b"fo", "Zm8=")]
    #[case(b"foo", "Zm9v")]
    #[case(b"foob", "Zm9vYg==")]
    #[case(b"fooba", "Zm9vYmE=")]
    #[case(b"foobar", "Zm9vYmFy")]
    #[case(&[0xff, 0xfe, 0xfd, 0], "//79AA==")]
    fn the_examples_of_rfc_4648(#[case] bytes: &[u8], #[case] text: &str) {
        assert_eq!(encode(bytes), text);
        assert_eq!(decode(text).as_deref(), Some(bytes));
    }

    #[test]
    fn every_length_and_byte_round_trips() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for length in 0..bytes.len() {
            assert_eq!(decode(&encode(&bytes[..length])).as_deref(), Some(&bytes[..length]));
        }
    }

    #[rstest]
    #[case("Z")]
    #[case("Zg")]
    #[case("Zg=")]
    #[case("Z===")]
    #[case("====")]
    #[case("Zg==Zg==")]
    #[case("Zm9v\n")]
    #[case("Zm-v")]
    #[case("Zmäv")]
    fn anything_else_is_refused(#[case] text: &str) {
        assert_eq!(decode(text), None);
    }
}
