//! Numbers, sizes and durations in the configuration and in options: "10", "10M", "2h".

use std::str::FromStr;

use chrono::TimeDelta;

/// The number of octets that the text stands for; K, M and G are powers of 1024.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let units = [
        (['K', 'k'], 1 << 10),
        (['M', 'm'], 1 << 20),
        (['G', 'g'], 1 << 30),
    ];
    let with_unit = |(letters, unit)| Some((text.strip_suffix(letters)?, unit));
    let (digits, unit) = units.into_iter().find_map(with_unit).unwrap_or((text, 1));
    parse_number::<u64>(digits)?.checked_mul(unit)
}

/// The time that the text stands for, which is not 0: "90s", "10m", "2h", "1d".
pub(crate) fn parse_duration(text: &str) -> Option<TimeDelta> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86400)];
    let mut seconds = units.into_iter().filter_map(|(letter, seconds)| {
        let number: i64 = parse_number(text.strip_suffix(letter)?)?;
        number.checked_mul(seconds).filter(|seconds| *seconds > 0)
    });
    seconds.next().and_then(TimeDelta::try_seconds)
}

/// The number that ASCII digits stand for; `from_str` of the integers also accepts a sign.
pub(crate) fn parse_number<T: FromStr>(digits: &str) -> Option<T> {
    let is_number = digits.bytes().all(|octet| octet.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
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
            assert_eq!(parse_size(text), Some(octets), "{text}");
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
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
