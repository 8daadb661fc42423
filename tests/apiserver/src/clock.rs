//! Time as the API writes it. No timers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A day of the Gregorian calendar and the second in it, in UTC.
#[derive(Clone, Copy)]
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    second: i64,
    weekday: i64,
}

impl Civil {
    /// Days to date, by eras of 400 years that begin in March.
    fn at(seconds: i64) -> Self {
        let days = seconds.div_euclid(86_400);
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            second: seconds.rem_euclid(86_400),
            weekday: (days + 4).rem_euclid(7),
        }
    }

    fn clock(self) -> String {
        format!("{:02}:{:02}:{:02}", self.second / 3_600, self.second / 60 % 60, self.second % 60)
    }
}

/// Seconds since 1970 with a shift, in seconds: the server's clock may be wrong on purpose.
pub(crate) fn now(skew: i64) -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX).saturating_add(skew)
}

/// As in `creationTimestamp`: `2026-01-31T08:05:09Z`.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let civil = Civil::at(seconds);
    format!("{:04}-{:02}-{:02}T{}Z", civil.year, civil.month, civil.day, civil.clock())
}

/// As in the header `Date`: `Sat, 31 Jan 2026 08:05:09 GMT`.
pub(crate) fn http_date(seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let civil = Civil::at(seconds);
    let name = |names: &[&'static str], index: i64| {
        usize::try_from(index).ok().and_then(|index| names.get(index).copied()).unwrap_or_default()
    };
    format!(
        "{}, {:02} {} {:04} {} GMT",
        name(&DAYS, civil.weekday),
        civil.day,
        name(&MONTHS, civil.month - 1),
        civil.year,
        civil.clock()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_769_846_709, "2026-01-31T08:05:09Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), expected);
        }
        assert_eq!(http_date(1_769_846_709), "Sat, 31 Jan 2026 08:05:09 GMT");
    }
}
