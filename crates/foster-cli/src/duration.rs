//! Durations as `timeout(1)` takes them (`2`, `0.5`, `2s`, `1m`, `1d`, `infinity`) and as people write them
//! (`250ms`, `1m30s`).

use std::time::Duration;

/// What a user may write, for the message that says so.
const FORMS: &str = "write it like 2, 0.5, 250ms, 2s, 1m30s, 1h, 1d, 0 or infinity";

/// The units, in milliseconds. `ms` comes before `m` and `s`, so that the longest is found first.
const UNITS: [(&str, f64); 5] =
    [("ms", 1.0), ("s", 1_000.0), ("m", 60_000.0), ("h", 3_600_000.0), ("d", 86_400_000.0)];

/// A duration; `None` is infinity. A bare number is seconds.
pub(crate) fn parse(text: &str) -> Result<Option<Duration>, String> {
    let bad = |why: &str| format!("{why}; {FORMS}");
    if ["infinity", "inf"].contains(&text.to_ascii_lowercase().as_str()) {
        return Ok(None);
    }
    if text.starts_with('-') {
        return Err(bad("a duration cannot be negative"));
    }
    let mut millis = 0.0;
    let mut rest = text;
    while !rest.is_empty() || text.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| bad("this is no duration"))?;
        let unit = UNITS.iter().find(|(name, _)| after.starts_with(name));
        millis += match unit {
            Some((name, length)) => {
                rest = &after[name.len()..];
                number * length
            }
            // A bare number stands alone: in `1m30` it is not clear what the 30 are.
            None if after.is_empty() && rest.len() == text.len() => {
                rest = after;
                number * 1_000.0
            }
            None => return Err(bad("this is no duration")),
        };
    }
    Duration::try_from_secs_f64(millis / 1_000.0)
        .map(Some)
        .map_err(|_| bad("this is too long for a duration"))
}

/// For messages: `2s`, `250ms`, `1m30s`.
pub(crate) fn show(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match (seconds, millis) {
        (0, millis) => format!("{millis}ms"),
        (seconds, 0) if seconds < 60 => format!("{seconds}s"),
        (seconds, millis) if seconds < 60 => format!("{seconds}.{millis:03}s"),
        (seconds, _) if seconds < 3_600 && seconds % 60 == 0 => format!("{}m", seconds / 60),
        (seconds, _) if seconds < 3_600 => format!("{}m{}s", seconds / 60, seconds % 60),
        (seconds, _) if seconds < 48 * 3_600 => format!("{}h{}m", seconds / 3_600, seconds / 60 % 60),
        (seconds, _) => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_timeout_and_of_people() {
        for (text, millis) in [
            ("0", 0),
            ("2", 2_000),
            ("0.5", 500),
            (".5", 500),
            ("2s", 2_000),
            ("0.25s", 250),
            ("1m", 60_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("250ms", 250),
            ("1m30s", 90_000),
            ("1h2m3s4ms", 3_723_004),
            ("1.5h", 5_400_000),
        ] {
            assert_eq!(parse(text), Ok(Some(Duration::from_millis(millis))), "{text}");
        }
        assert_eq!(parse("infinity"), Ok(None));
        assert_eq!(parse("INF"), Ok(None));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "", "s", "1x", "-1", "1m30", "1 m", "..", "1.2.3", "1e5", "ms", "1sm", "nan", "9e999", "1s-2s",
            "٣s",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(parse(&"9".repeat(400)).unwrap_err().starts_with("this is too long"));
        assert!(parse("-1").unwrap_err().starts_with("a duration cannot be negative"));
    }

    #[test]
    fn shown_as_it_is_written() {
        for text in ["250ms", "2s", "1m", "1m30s"] {
            assert_eq!(show(parse(text).unwrap().unwrap()), text);
        }
    }
}
