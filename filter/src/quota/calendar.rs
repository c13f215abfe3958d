//! Months of the calendar, in UTC.

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: u64 = 719_468;
const DAY_MS: u64 = 86_400_000;

/// Milliseconds from `now_ms` (since 1970) to the end of its month.
#[must_use]
pub(super) fn left_of_month(now_ms: u64) -> u64 {
    let today = now_ms / DAY_MS;
    let month = month_of(today);
    // A month has at most 31 days.
    let next = (1..=31).map(|days| today.saturating_add(days)).find(|day| month_of(*day) != month);
    next.unwrap_or(today).saturating_mul(DAY_MS).saturating_sub(now_ms)
}

/// The number of the month that a day since 1970 lies in, counted from March of the year 0 (the algorithm is Howard
/// Hinnant's `civil_from_days`: years begin in March, so that leap days come last).
fn month_of(day: u64) -> u64 {
    let z = day.saturating_add(EPOCH);
    let of_era = z % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    (z / 146_097 * 400 + year) * 12 + (5 * of_year + 2) / 153
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_have_their_days() {
        let mut day = 0;
        for year in 1970..2410_u64 {
            let leap =
                year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
            let february = if leap { 29 } else { 28 };
            for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
                for of_month in 0..days {
                    let now = (day + of_month) * DAY_MS;
                    assert_eq!(left_of_month(now), (days - of_month) * DAY_MS, "{year} day {day}");
                    assert_eq!(left_of_month(now + DAY_MS - 1), (days - of_month - 1) * DAY_MS + 1);
                }
                day += days;
            }
        }
    }
}
