//! Sizes for the user.

/// A number of octets, in units of 1024: `812 B`, `12.3 KiB`, `1.4 GiB`.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(crate) fn format_size(octets: u64) -> String {
    if octets < 1024 {
        return format!("{octets} B");
    }
    let mut size = octets as f64 / 1024.0;
    let mut units = ["KiB", "MiB", "GiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    // What would be shown as 1024.0 is 1.0 of the next unit.
    while size >= 1023.95
        && let Some(larger) = units.next()
    {
        size /= 1024.0;
        unit = larger;
    }
    format!("{size:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_the_largest_unit_of_which_it_has_one() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (12_595, "12.3 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (35_651_584, "34.0 MiB"),
            (1 << 40, "1024.0 GiB"),
        ];
        for (octets, expected) in cases {
            assert_eq!(format_size(octets), expected);
        }
    }
}
