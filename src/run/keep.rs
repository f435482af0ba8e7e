//! `--keep`: which question represents a cluster, as it is written.

use std::fmt;
use std::str::FromStr;

use crate::option_file::as_text;

const CHOICES: [(&str, Keep); 3] =
    [("most-central", Keep::MostCentral), ("first", Keep::First), ("longest", Keep::Longest)];
const HIGHEST: &str = ":highest";
const LOWEST: &str = ":lowest";

/// Which question represents a cluster. Of equal ones, that of the smallest id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Keep {
    /// The one that the clustering chose.
    #[default]
    MostCentral,
    /// The one of the smallest id.
    First,
    /// The one with the most characters, after normalisation.
    Longest,
    /// The one with the highest value of a column of the input, or the lowest.
    Column { name: String, lowest: bool },
}

impl Keep {
    /// The column that the input must have.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Column { name, .. } => Some(name),
            Self::MostCentral | Self::First | Self::Longest => None,
        }
    }
}

impl FromStr for Keep {
    type Err = String;

    /// `votes` and `votes:highest` are the same; the longer form is for a column that is called as one of the other choices.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, keep)) = CHOICES.into_iter().find(|(name, _)| *name == text) {
            return Ok(keep);
        }
        let (name, lowest) = match (text.strip_suffix(HIGHEST), text.strip_suffix(LOWEST)) {
            (Some(name), _) => (name, false),
            (_, Some(name)) => (name, true),
            _ => (text, false),
        };
        match name.is_empty() {
            true => Err(format!("{text:?} names no column: expected first, longest, most-central or a column")),
            false => Ok(Self::Column { name: name.into(), lowest }),
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self::Column { name, lowest } = self else {
            let name = CHOICES.iter().find(|(_, keep)| keep == self).map_or("", |(name, _)| name);
            return f.write_str(name);
        };
        let is_plain = name.parse() == Ok(Self::Column { name: name.clone(), lowest: false });
        f.write_str(name)?;
        f.write_str(match (lowest, is_plain) {
            (true, _) => LOWEST,
            (false, true) => "",
            (false, false) => HIGHEST,
        })
    }
}

as_text!(Keep);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let column = |name: &str, lowest| Keep::Column { name: name.into(), lowest };
        for (written, keep, shown) in [
            ("most-central", Keep::MostCentral, "most-central"),
            ("first", Keep::First, "first"),
            ("longest", Keep::Longest, "longest"),
            ("votes", column("votes", false), "votes"),
            ("votes:highest", column("votes", false), "votes"),
            ("edited at:lowest", column("edited at", true), "edited at:lowest"),
            ("longest:highest", column("longest", false), "longest:highest"),
            ("first:lowest", column("first", true), "first:lowest"),
            ("a:lowest:highest", column("a:lowest", false), "a:lowest:highest"),
        ] {
            assert_eq!(written.parse(), Ok(keep.clone()), "{written}");
            assert_eq!(keep.to_string(), shown);
            assert_eq!(shown.parse(), Ok(keep), "{shown}");
        }
        for wrong in ["", ":lowest", ":highest"] {
            assert!(wrong.parse::<Keep>().unwrap_err().contains("names no column"), "{wrong}");
        }
    }
}
