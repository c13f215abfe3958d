//! Durations as people write them: `200ms`, `2s`.

use std::time::Duration;

/// The longest that can be asked for: longer than any timeout a proxy has by default.
pub(crate) const MAX: Duration = Duration::from_secs(60);

/// What [`parse`] takes, for error texts.
pub(crate) const ALLOWED: &str = "a whole number and ms or s, up to 60s";

/// Reads a duration up to [`MAX`].
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let number = number.parse().ok()?;
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        _ => return None,
    };
    (duration <= MAX).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_are_durations() {
        for (text, millis) in
            [("0ms", 0), ("200ms", 200), ("2s", 2000), ("60s", 60_000), ("60000ms", 60_000)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "1",
            "s",
            "1 s",
            "-1s",
            "+1s",
            "1.5s",
            "1m",
            "61s",
            "60001ms",
            "99999999999999999999s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
