//! Values of a column that ranks questions: `--keep COLUMN`.
//!
//! A value is what it looks like, whatever the format of its file: `12` in a CSV file, 12 in JSON and an integer in Parquet are
//! one number. So changes in another format than the first input, and several files, give one order.

use std::cmp::Ordering;

use anyhow::{Result, bail};
use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use crate::tables::texts::Texts;

/// A value that is there.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value<'a> {
    Text(&'a str),
    /// The nearest float, and the integer towards zero: large integers that share a float are still told apart.
    Number(f64, i128),
    /// A time without an offset counts as UTC, a date as its midnight.
    Moment(Timestamp),
}

impl<'a> Value<'a> {
    /// `None` for one that is blank or not a number (NaN).
    fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let moment = |text: &str| {
            let local = || text.parse::<DateTime>().ok().and_then(|local| Offset::UTC.to_timestamp(local).ok());
            text.parse::<Timestamp>().ok().or_else(local)
        };
        match text {
            "" => return None,
            "true" | "True" | "TRUE" => return Some(Self::Number(1.0, 1)),
            "false" | "False" | "FALSE" => return Some(Self::Number(0.0, 0)),
            _ => {}
        }
        if let Ok(integer) = text.parse::<i128>() {
            return Some(Self::Number(integer as f64, integer));
        }
        match text.parse::<f64>() {
            // adding zero makes one of the two zeros
            Ok(number) if number.is_finite() => Some(Self::Number(number + 0.0, number as i128)),
            Ok(number) if number.is_nan() => None,
            _ => Some(moment(text).map_or(Self::Text(text), Self::Moment)),
        }
    }

    /// The one way in which a value is kept and hashed.
    fn written(self) -> String {
        match self {
            Self::Text(text) => text.into(),
            Self::Number(number, integer) if integer as f64 == number => integer.to_string(),
            Self::Number(number, _) => number.to_string(),
            Self::Moment(moment) => moment.to_string(),
        }
    }

    fn kind(self) -> usize {
        match self {
            Self::Text(_) => 0,
            Self::Number(..) => 1,
            Self::Moment(_) => 2,
        }
    }

    /// Whether this one goes before the other. A text loses against a number, and a number against a time, whichever end wins.
    fn rank(self, other: Self, lowest: bool) -> Ordering {
        let by_value = match (self, other) {
            (Self::Text(x), Self::Text(y)) => x.cmp(y),
            (Self::Number(x, exact_x), Self::Number(y, exact_y)) => x.total_cmp(&y).then(exact_x.cmp(&exact_y)),
            (Self::Moment(x), Self::Moment(y)) => x.cmp(&y),
            _ => return self.kind().cmp(&other.kind()),
        };
        if lowest { by_value.reverse() } else { by_value }
    }
}

/// A column's value of every question.
#[derive(Debug, Default)]
pub struct RankingValues {
    pub column: String,
    /// One a question, as [`written`] writes them.
    pub(super) texts: Texts,
}

/// A value as it is kept: the same for all ways to write it, and empty for none.
pub(super) fn written(value: Option<&str>) -> String {
    value.and_then(Value::parse).map_or(String::new(), Value::written)
}

impl RankingValues {
    /// The value of a question as it is kept; `None` for none.
    pub(super) fn of(&self, question: usize) -> Option<&str> {
        Some(self.texts.get(question)).filter(|text| !text.is_empty())
    }

    /// How the questions `a` and `b` compare: the greater one has the higher value, or with `lowest` the lower one. One without
    /// a value is less than any other.
    pub fn rank(&self, a: u32, b: u32, lowest: bool) -> Ordering {
        let value = |question: u32| Value::parse(self.texts.get(question as usize));
        match (value(a), value(b)) {
            (Some(a), Some(b)) => a.rank(b, lowest),
            (a, b) => a.is_some().cmp(&b.is_some()),
        }
    }

    /// How many values of each kind there are.
    pub fn counts(&self) -> [(&'static str, usize); 4] {
        let mut counts = [("texts", 0), ("numbers", 0), ("times", 0), ("empty", 0)];
        for text in self.texts.iter() {
            counts[Value::parse(text).map_or(3, Value::kind)].1 += 1;
        }
        counts
    }

    /// The first text of a column that also has numbers or times.
    pub fn stray_text(&self) -> Option<&str> {
        let values = || self.texts.iter().filter_map(Value::parse);
        let text = values().find_map(|value| if let Value::Text(text) = value { Some(text) } else { None })?;
        values().any(|value| value.kind() > 0).then_some(text)
    }
}

/// Whether a column of this type can rank questions.
pub(super) fn check_type(kind: &DataType) -> Result<()> {
    let value = match kind {
        DataType::Dictionary(_, value) => value,
        other => other,
    };
    let is_text = matches!(value, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null);
    let is_time = matches!(value, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..));
    match is_text || is_time || value.is_numeric() || *value == DataType::Boolean {
        true => Ok(()),
        false => bail!("has type {kind}, which --keep cannot order: expected numbers, dates, times or strings"),
    }
}

/// A column of a type that [`check_type`] accepts, as strings.
pub(super) fn as_text(column: &ArrayRef) -> Result<ArrayRef> {
    // a time zone's name would need its rules: the instant is the same in UTC
    let column = match column.data_type() {
        DataType::Timestamp(unit, Some(_)) => &cast(column, &DataType::Timestamp(*unit, None))?,
        DataType::Float16 => &cast(column, &DataType::Float32)?,
        _ => column,
    };
    Ok(cast(column, &DataType::LargeUtf8)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Array, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, TimestampNanosecondArray,
        TimestampSecondArray,
    };

    use super::*;

    fn values(texts: &[&str]) -> RankingValues {
        RankingValues { column: "v".into(), texts: texts.iter().map(|text| written(Some(text))).collect() }
    }

    fn order(texts: &[&str], lowest: bool) -> Vec<u32> {
        let values = values(texts);
        let mut order: Vec<u32> = (0..texts.len() as u32).collect();
        order.sort_by(|&a, &b| values.rank(b, a, lowest));
        order
    }

    #[test]
    fn numbers_times_and_texts_are_each_in_their_own_order() {
        assert_eq!(order(&["9", "10", "", "-3.5", "1e3", "nan"], false), [4, 1, 0, 3, 2, 5]);
        assert_eq!(order(&["9", "10", "", "-3.5"], true), [3, 0, 1, 2]);
        // 2^53 and its neighbour share a float, nanoseconds of our time do too
        assert_eq!(
            order(&["9007199254740992", "9007199254740993", "1764000000000000001", "1764000000000000000"], false),
            [2, 3, 1, 0]
        );
        let times = [
            "2026-11-27",
            "2026-11-27T00:00:01",
            "2026-11-27 02:00:00+02:00",
            "2026-11-26T23:59:59.9Z",
            "2025-12-31 10:00:00",
        ];
        assert_eq!(order(&times, false), [1, 0, 2, 3, 4]);
        assert_eq!(order(&["b", "a", " c "], false), [2, 0, 1]);
        assert_eq!(order(&["n/a", "7", "2026-11-27", "x"], false), [2, 1, 3, 0]);
        assert_eq!(order(&["n/a", "7", "2026-11-27", "x"], true), [2, 1, 0, 3]);
        assert_eq!(order(&["False", "true"], false), [1, 0]);
    }

    #[test]
    fn a_value_is_kept_in_one_way() {
        for (ways, kept) in [
            (&["12", "12.0", " +12 ", "1.2e1"][..], "12"),
            (&["0", "-0.0", "false"], "0"),
            (&["0.1", "0.10"], "0.1"),
            (&["9007199254740993"], "9007199254740993"),
            (
                &["2026-11-27", "2026-11-27T00:00:00Z", "2026-11-27 01:00:00+01", "2026-11-27 01:00:00+01:00"],
                "2026-11-27T00:00:00Z",
            ),
            (&["n/a", " n/a"], "n/a"),
            (&["", " ", "NaN"], ""),
        ] {
            for way in ways {
                assert_eq!(written(Some(way)), kept, "{way:?}");
                assert_eq!(written(Some(&written(Some(way)))), kept, "{way:?} again");
            }
        }
        assert_eq!(written(None), "");
        assert_eq!(values(&["1", "", "2.5", "x"]).counts(), [("texts", 1), ("numbers", 2), ("times", 0), ("empty", 1)]);
        assert_eq!(values(&["1", "2026-01-01", ""]).stray_text(), None);
        assert_eq!(values(&["a", "b"]).stray_text(), None);
        assert_eq!(values(&["1", "n/a", "-"]).stray_text(), Some("n/a"));
    }

    #[test]
    fn columns_of_parquet_have_the_values_of_a_csv_file() {
        let kept = |column: ArrayRef| -> Vec<String> {
            check_type(column.data_type()).unwrap();
            let texts = as_text(&column).unwrap();
            let texts = texts.as_string::<i64>();
            (0..texts.len()).map(|at| written(texts.is_valid(at).then(|| texts.value(at)))).collect()
        };
        assert_eq!(kept(Arc::new(Int64Array::from(vec![Some(7), None]))), ["7", ""]);
        assert_eq!(
            kept(Arc::new(Float64Array::from(vec![7.0, f64::NAN, 0.25, 1e20]))),
            ["7", "", "0.25", "100000000000000000000"]
        );
        assert_eq!(kept(Arc::new(BooleanArray::from(vec![true, false]))), ["1", "0"]);
        assert_eq!(kept(Arc::new(Date32Array::from(vec![20_784]))), ["2026-11-27T00:00:00Z"]);
        let decimal = Decimal128Array::from(vec![1250]).with_precision_and_scale(10, 2).unwrap();
        assert_eq!(kept(Arc::new(decimal)), ["12.5"]);
        let nanoseconds = TimestampNanosecondArray::from(vec![1_795_737_600_000_000_001]);
        assert_eq!(kept(Arc::new(nanoseconds)), ["2026-11-27T00:00:00.000000001Z"]);
        let berlin = TimestampSecondArray::from(vec![1_795_737_600]).with_timezone("Europe/Berlin");
        assert_eq!(kept(Arc::new(berlin)), ["2026-11-27T00:00:00Z"]);
        let binary = check_type(&DataType::Binary).unwrap_err().to_string();
        assert_eq!(binary, "has type Binary, which --keep cannot order: expected numbers, dates, times or strings");
    }
}
