//! Numbers for people.

use crate::progress::readable;

/// `1,234,567`.
pub fn count(number: f64) -> String {
    readable(number.max(0.0).round() as usize)
}

/// A share of 0..=1 as `12.3 %`. Only 1 is shown as `100.0 %`: what would round to it is shown as `99.9 %`.
pub fn percent(share: f64) -> String {
    let shown = if share < 1.0 { (100.0 * share).min(99.9) } else { 100.0 * share };
    format!("{shown:.1} %")
}

/// A cosine or a probability.
pub fn score(value: f32) -> String {
    format!("{value:.3}")
}

/// The same for a value that may be missing.
pub fn optional_score(value: Option<f32>) -> String {
    value.map_or("–".into(), score)
}

/// `0.04 s`, `57.9 s`, `3 min 20 s`, `1 h 05 min`.
pub fn seconds(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..100 if seconds < 0.1 => format!("{seconds:.2} s"),
        0..100 => format!("{seconds:.1} s"),
        100..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// `317.9 kB`.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            (count(1_234_567.0), percent(0.1234), percent(0.9999)),
            ("1,234,567".into(), "12.3 %".into(), "99.9 %".into())
        );
        assert_eq!((percent(1.0), optional_score(None), score(0.5)), ("100.0 %".into(), "–".into(), "0.500".into()));
        assert_eq!([0.04, 57.91, 200.0, 3900.0].map(seconds), ["0.04 s", "57.9 s", "3 min 20 s", "1 h 05 min"]);
        assert_eq!([12, 317_915, 5_000_000].map(bytes), ["12 B", "317.9 kB", "5.0 MB"]);
    }
}
