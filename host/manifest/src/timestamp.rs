//! Times as Kubernetes writes them (RFC 3339), to and from seconds since 1970. No clock, no time zones by name.

/// Seconds since 1970 of a time such as `2024-01-01T00:00:00Z` or `2024-01-01T02:00:00.5+02:00`; fractions of a second are
/// cut off. None if it is no such time, or not one from the years 0 to 9999.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let mut rest = text.as_bytes();
    let year = number(&mut rest, 4)?;
    let month = behind(&mut rest, b"-", 2)?;
    let day = behind(&mut rest, b"-", 2)?;
    let hour = behind(&mut rest, b"Tt", 2)?;
    let minute = behind(&mut rest, b":", 2)?;
    let second = behind(&mut rest, b":", 2)?;
    if let [b'.', fraction @ ..] = rest {
        let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        rest = fraction.get(digits..).filter(|_| digits > 0)?;
    }
    let east = match rest {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), offset @ ..] => {
            let mut offset = offset;
            let hours = number(&mut offset, 2).filter(|hours| *hours < 24)?;
            let minutes = behind(&mut offset, b":", 2).filter(|minutes| *minutes < 60)?;
            let seconds = hours * 3600 + minutes * 60;
            offset.is_empty().then_some(if *sign == b'+' { seconds } else { -seconds })?
        }
        _ => return None,
    };
    if !(1..=12).contains(&month)
        || !(1..=days_of(month, year)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let seconds = days_before(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - east;
    (FIRST..=LAST).contains(&seconds).then_some(seconds)
}

/// `seconds` as `2024-01-01T00:00:00Z`; years before 0 and after 9999, which cannot be written, as the first and last second
/// that can.
pub(crate) fn format(seconds: i64) -> String {
    let seconds = seconds.clamp(FIRST, LAST);
    let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // At most three steps: the guess is within a year.
    let mut year = 1970 + days.div_euclid(365) - (days.div_euclid(365) / 1460);
    while days_before(year, 1, 1) > days {
        year -= 1;
    }
    while days_before(year + 1, 1, 1) <= days {
        year += 1;
    }
    let month = (2..=12).take_while(|month| days_before(year, *month, 1) <= days).last().unwrap_or(1);
    let day = days - days_before(year, month, 1) + 1;
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// 0000-01-01T00:00:00Z.
const FIRST: i64 = -719_528 * 86_400;
/// 9999-12-31T23:59:59Z.
const LAST: i64 = 2_932_897 * 86_400 - 1;

/// Takes a number of exactly `digits` digits.
fn number(rest: &mut &[u8], digits: usize) -> Option<i64> {
    let (number, behind) = rest.split_at_checked(digits)?;
    *rest = behind;
    number.iter().try_fold(0, |all, b| b.is_ascii_digit().then(|| all * 10 + i64::from(b - b'0')))
}

/// Takes one of `marks`, then a number.
fn behind(rest: &mut &[u8], marks: &[u8], digits: usize) -> Option<i64> {
    let (mark, behind) = rest.split_first()?;
    *rest = behind;
    marks.contains(mark).then(|| number(rest, digits)).flatten()
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(month: i64, year: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to this day of the Gregorian calendar.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let years = year - 1;
    let leap_days = years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400);
    let of_year: i64 = (1..month).map(|month| days_of(month, year)).sum();
    years * 365 + leap_days + of_year + day - 1 - 719_162
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_since_1970() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59Z", -1),
            ("2024-02-29T12:34:56Z", 1_709_210_096),
            ("2024-03-01T00:00:00Z", 1_709_251_200),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("0000-01-01T00:00:00Z", FIRST),
            ("9999-12-31T23:59:59Z", LAST),
        ] {
            assert_eq!(parse(text), Some(seconds), "{text}");
            assert_eq!(format(seconds), text);
        }
        for same in ["2024-02-29t14:04:56.999+01:30", "2024-02-28T23:34:56-13:00", "2024-02-29T12:34:56z"] {
            assert_eq!(parse(same), Some(1_709_210_096), "{same}");
        }
        assert_eq!((format(i64::MIN), format(i64::MAX)), (format(FIRST), format(LAST)));
    }

    #[test]
    fn every_day_of_800_years_comes_back() {
        for day in -200_000..100_000 {
            let text = format(day * 86_400 + 86_399);
            assert_eq!(parse(&text), Some(day * 86_400 + 86_399), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "yesterday",
            "2024-01-01",
            "2024-01-01T00:00:00",
            "2024-01-01 00:00:00Z",
            "2024-1-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00ZZ",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:00:00+0100",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "-024-01-01T00:00:00Z",
            "2024-01-01T00:00:00\u{0661}",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
