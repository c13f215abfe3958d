//! HTTP-dates (RFC 9110 §5.6.7), in the three forms that a recipient has to accept.
//!
//! Letter case of days, months and the zone does not matter; all else is as the grammar says, since a date that is not
//! one has a meaning of its own: a response with an invalid `Expires` is stale (RFC 9111 §5.3).

const MONTHS: [&[u8; 3]; 12] = [
    b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec",
];
const DAYS: [&[u8]; 7] =
    [b"monday", b"tuesday", b"wednesday", b"thursday", b"friday", b"saturday", b"sunday"];

/// A year in two digits that would be so much later than now is one of the century before (RFC 9110 §5.6.7).
const MOST_YEARS_AHEAD: u64 = 50;

const SECONDS_OF_DAY: u64 = 86_400;
/// Of 400 years, after which the calendar repeats itself.
const DAYS_OF_ERA: u64 = 146_097;
/// From 0000-03-01 to 1970-01-01.
const DAYS_BEFORE_1970: u64 = 719_468;

/// Seconds from 1970 to a date; dates before are 1970. `now_s` tells which century a year in two digits is of.
#[must_use]
pub fn parse(text: &[u8], now_s: u64) -> Option<u64> {
    imf_fixdate(text).or_else(|| rfc850(text, now_s)).or_else(|| asctime(text))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &[u8]) -> Option<u64> {
    let (day, rest) = split_at(text, b", ")?;
    is_day(day, 3)?;
    let [d1, d0, b' ', month @ .., b' ', y3, y2, y1, y0, b' '] = rest.get(..12)? else {
        return None;
    };
    let date = (number(&[*y3, *y2, *y1, *y0])?, month_of(month)?, number(&[*d1, *d0])?);
    seconds(date, time_and_zone(rest.get(12..)?)?)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(text: &[u8], now_s: u64) -> Option<u64> {
    let (day, rest) = split_at(text, b", ")?;
    is_day(day, day.len().max(4))?;
    let [d1, d0, b'-', month @ .., b'-', y1, y0, b' '] = rest.get(..10)? else { return None };
    let (this_year, year) = (year_of(now_s), number(&[*y1, *y0])?);
    let century = this_year.saturating_sub(this_year % 100);
    let mut year = century.saturating_add(year);
    if year > this_year.saturating_add(MOST_YEARS_AHEAD) {
        year = year.saturating_sub(100);
    } else if year.saturating_add(100) <= this_year.saturating_add(MOST_YEARS_AHEAD) {
        year = year.saturating_add(100);
    }
    let date = (year, month_of(month)?, number(&[*d1, *d0])?);
    seconds(date, time_and_zone(rest.get(10..)?)?)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &[u8]) -> Option<u64> {
    let [day @ .., b' ', m1, m2, m3, b' ', d1, d0, b' '] = text.get(..11)? else { return None };
    is_day(day, 3)?;
    let tens = if *d1 == b' ' { b'0' } else { *d1 };
    let (time, year) = (text.get(11..19)?, text.get(19..)?.strip_prefix(b" ")?);
    let year = if year.len() == 4 { number(year)? } else { return None };
    seconds((year, month_of(&[*m1, *m2, *m3])?, number(&[tens, *d0])?), time_of(time)?)
}

fn split_at<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(separator.len()).position(|window| window == separator)?;
    Some((text.get(..at)?, text.get(at.saturating_add(separator.len())..)?))
}

/// Whether it is the name of a day, in so many letters.
fn is_day(text: &[u8], length: usize) -> Option<()> {
    let is = |day: &&[u8]| day.get(..length).is_some_and(|day| day.eq_ignore_ascii_case(text));
    let is_whole = |day: &&[u8]| length == 3 || day.len() == length;
    DAYS.iter().find(|day| is(day) && is_whole(day)).map(|_| ())
}

fn month_of(text: &[u8]) -> Option<u64> {
    let place = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(text))?;
    u64::try_from(place).ok()?.checked_add(1)
}

fn time_and_zone(text: &[u8]) -> Option<u64> {
    let zone = text.get(8..)?;
    zone.eq_ignore_ascii_case(b" GMT").then(|| time_of(text.get(..8)?))?
}

/// `08:49:37`
fn time_of(text: &[u8]) -> Option<u64> {
    let [h1, h0, b':', m1, m0, b':', s1, s0] = text else { return None };
    let (hour, minute, second) = (number(&[*h1, *h0])?, number(&[*m1, *m0])?, number(&[*s1, *s0])?);
    // A leap second is as good as the one after it.
    let is_time = hour < 24 && minute < 60 && second <= 60;
    let minutes = hour.checked_mul(60)?.checked_add(minute)?;
    is_time.then(|| minutes.checked_mul(60)?.checked_add(second))?
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| digit.checked_sub(b'0'))??;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// By the proleptic Gregorian calendar, whose years begin in March here, so that leap days are at their ends.
fn seconds((year, month, day): (u64, u64, u64), time: u64) -> Option<u64> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days_of_month = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if day == 0 || day > days_of_month {
        return None;
    }
    let (year, month) = if month > 2 {
        (year, month.checked_sub(3)?)
    } else {
        (year.checked_sub(1)?, month.checked_add(9)?)
    };
    let (era, of_era) = (year.checked_div(400)?, year.checked_rem(400)?);
    let leap_days = of_era.checked_div(4)?.checked_sub(of_era.checked_div(100)?)?;
    let day_of_year = month.checked_mul(153)?.checked_add(2)?.checked_div(5)?.checked_add(day)?;
    let days = era
        .checked_mul(DAYS_OF_ERA)?
        .checked_add(of_era.checked_mul(365)?)?
        .checked_add(leap_days)?
        .checked_add(day_of_year)?
        .checked_sub(1)?;
    days.saturating_sub(DAYS_BEFORE_1970).checked_mul(SECONDS_OF_DAY)?.checked_add(time)
}

/// The year of a time. Good to a day, which is enough to tell centuries apart.
const fn year_of(now_s: u64) -> u64 {
    /// 365.2425 days.
    const SECONDS_OF_YEAR: u64 = 31_556_952;
    (now_s / SECONDS_OF_YEAR).saturating_add(1970)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-24.
    const NOW: u64 = 1_795_500_000;
    /// 1994-11-06 08:49:37.
    const EXAMPLE: u64 = 784_111_777;

    fn date(text: &str) -> Option<u64> {
        parse(text.as_bytes(), NOW)
    }

    #[test]
    fn all_three_forms_are_dates() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "SUN, 06 nov 1994 08:49:37 gMt",
        ] {
            assert_eq!(date(text), Some(EXAMPLE), "{text}");
        }
        assert_eq!(date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(date("Tue, 29 Feb 2000 00:00:00 GMT"), Some(951_782_400));
        assert_eq!(date("Tue, 19 Jan 2038 14:14:08 GMT"), Some(2_147_523_248));
        assert_eq!(date("Fri, 31 Dec 9999 23:59:59 GMT"), Some(253_402_300_799));
        assert_eq!(date("Mon, 01 Jan 1900 00:00:00 GMT"), Some(0));
    }

    #[test]
    fn a_year_in_two_digits_is_at_most_50_years_ahead() {
        assert_eq!(date("Thursday, 18-Aug-50 02:01:18 GMT"), date("Thu, 18 Aug 2050 02:01:18 GMT"));
        assert_eq!(date("Sunday, 18-Aug-76 02:01:18 GMT"), date("Tue, 18 Aug 2076 02:01:18 GMT"));
        assert_eq!(date("Sunday, 18-Aug-77 02:01:18 GMT"), date("Thu, 18 Aug 1977 02:01:18 GMT"));
        let later = NOW + 60 * 31_556_952;
        assert_eq!(
            parse(b"Sunday, 18-Aug-10 02:01:18 GMT", later),
            date("Wed, 18 Aug 2110 02:01:18 GMT")
        );
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "0",
            "-1",
            "now",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 2050 02:01:18",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 GMT ",
            "Thu, 31 Jun 2050 02:01:18 GMT",
            "Tue, 29 Feb 1900 00:00:00 GMT",
            "Thu, 18 Aug 2050 24:00:00 GMT",
            "Thx, 18 Aug 2050 02:01:18 GMT",
            "Thurs, 18-Aug-50 02:01:18 GMT",
            "Thu Aug 8 02:01:18 2050",
        ] {
            assert_eq!(date(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_others_write_is_read_as_they_meant_it(seconds in 0_u64..253_402_300_800) {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            prop_assert_eq!(date(&httpdate::fmt_http_date(time)), Some(seconds));
        }

        #[test]
        fn any_bytes_are_a_date_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..40), now: u64) {
            let _ = parse(&bytes, now);
        }
    }
}
