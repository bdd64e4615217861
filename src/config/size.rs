//! Sizes in the configuration and on the command line: "10M".

use std::fmt;
use std::str::FromStr;

/// A number of octets; K, M and G are powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(u64);

impl Size {
    /// The number of octets.
    pub(super) fn octets(self) -> u64 {
        self.0
    }
}

/// The error for a text that is not a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidSize;

impl fmt::Display for InvalidSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size is wanted, such as 500K, 10M or 1G")
    }
}

impl FromStr for Size {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Size, InvalidSize> {
        let (digits, unit) = match text.char_indices().next_back() {
            Some((at, 'K' | 'k')) => (text.split_at(at).0, 1 << 10),
            Some((at, 'M' | 'm')) => (text.split_at(at).0, 1 << 20),
            Some((at, 'G' | 'g')) => (text.split_at(at).0, 1 << 30),
            _ => (text, 1),
        };
        // `u64::from_str` accepts a plus sign.
        if !digits.bytes().all(|octet| octet.is_ascii_digit()) {
            return Err(InvalidSize);
        }
        let number: u64 = digits.parse().map_err(|_| InvalidSize)?;
        number.checked_mul(unit).map(Size).ok_or(InvalidSize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_with_an_optional_unit_of_1024() {
        let cases = [
            ("0", 0),
            ("4096", 4096),
            ("100K", 102_400),
            ("10M", 10_485_760),
            ("10m", 10_485_760),
            ("1G", 1_073_741_824),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, octets) in cases {
            assert_eq!(text.parse::<Size>().map(Size::octets), Ok(octets), "{text}");
        }
    }

    #[test]
    fn anything_else_is_not_a_size() {
        for text in [
            "",
            "M",
            "10 M",
            "10MB",
            "1.5G",
            "-1",
            "+1",
            "1e3",
            "ten",
            "10µ",
            "18446744073709551616",
            "17179869184G",
        ] {
            assert_eq!(text.parse::<Size>(), Err(InvalidSize), "{text}");
        }
    }
}
