//! The version before: its questions, and the clusters of its texts.

use anyhow::{Context, Result};
use rayon::prelude::*;

use crate::tables::questions::Questions;
use crate::tables::segment_file::{Column, Columns};
use crate::text::key::TextKey;
use crate::text::normalise::normalise;

/// A version and the time of its run, microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment {
    pub version: u64,
    pub time: i64,
}

/// A text in a cluster of two questions or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub key: TextKey,
    pub cluster: u64,
    /// The version since which the text is in the cluster.
    pub joined: u64,
    /// Which of the questions with this text represents the cluster, from 0, those of a reference first; `None` if another
    /// text represents it.
    pub represents: Option<u32>,
    /// When the cluster got its id.
    pub first_seen: Moment,
    /// When a question last joined or left the cluster.
    pub last_changed: Moment,
}

/// The members as the columns of a segment, and back.
pub fn columns(members: &[Member]) -> Columns {
    let numbers = |value: &dyn Fn(&Member) -> u64| Column::Numbers(members.iter().map(value).collect());
    vec![
        ("text".into(), Column::Keys(members.iter().map(|member| member.key).collect())),
        ("cluster".into(), numbers(&|member| member.cluster)),
        ("joined".into(), numbers(&|member| member.joined)),
        ("representative".into(), numbers(&|member| member.represents.map_or(0, |copy| u64::from(copy) + 1))),
        ("first_seen".into(), numbers(&|member| member.first_seen.version)),
        ("first_seen_at".into(), numbers(&|member| member.first_seen.time as u64)),
        ("last_changed".into(), numbers(&|member| member.last_changed.version)),
        ("last_changed_at".into(), numbers(&|member| member.last_changed.time as u64)),
    ]
}

/// The inverse of [`columns`].
pub fn members(columns: Columns) -> Result<Vec<Member>> {
    let mut columns = columns.into_iter().map(|(_, column)| column);
    let mut next = || columns.next().context("not the columns of clustered texts");
    let Column::Keys(keys) = next()? else { anyhow::bail!("no keys of clustered texts") };
    let mut member: Vec<Member> = keys
        .into_iter()
        .map(|key| Member {
            key,
            cluster: 0,
            joined: 0,
            represents: None,
            first_seen: Moment::default(),
            last_changed: Moment::default(),
        })
        .collect();
    let mut fill = |column: Column, put: fn(&mut Member, u64)| match column {
        Column::Numbers(values) => {
            member.iter_mut().zip(values).for_each(|(member, value)| put(member, value));
            Ok(())
        }
        // an earlier program kept whether the first question with the text represents the cluster
        Column::Flags(values) => {
            member.iter_mut().zip(values).for_each(|(member, value)| put(member, u64::from(value)));
            Ok(())
        }
        _ => Err(anyhow::anyhow!("not the columns of clustered texts")),
    };
    fill(next()?, |member, value| member.cluster = value)?;
    fill(next()?, |member, value| member.joined = value)?;
    fill(next()?, |member, value| member.represents = value.checked_sub(1).map(|copy| copy as u32))?;
    fill(next()?, |member, value| member.first_seen.version = value)?;
    fill(next()?, |member, value| member.first_seen.time = value as i64)?;
    fill(next()?, |member, value| member.last_changed.version = value)?;
    fill(next()?, |member, value| member.last_changed.time = value as i64)?;
    Ok(member)
}

/// What a version leaves to the next one.
pub struct Previous {
    pub version: u64,
    pub questions: Questions,
    /// Question → key of its text.
    pub keys: Vec<TextKey>,
    /// In the order of their keys.
    pub members: Vec<Member>,
}

impl Previous {
    /// `members` are in the order of their keys.
    pub fn new(version: u64, questions: Questions, members: Vec<Member>) -> Self {
        let texts = &questions.texts;
        let keys = (0..texts.len()).into_par_iter().map(|at| TextKey::of(&normalise(texts.get(at)))).collect();
        Self { version, questions, keys, members }
    }

    /// The clustered text with this key.
    pub fn member(&self, key: &TextKey) -> Option<&Member> {
        find(&self.members, key)
    }
}

/// The member with this key among members in the order of their keys.
pub fn find<'a>(members: &'a [Member], key: &TextKey) -> Option<&'a Member> {
    members.binary_search_by_key(key, |member| member.key).ok().map(|at| &members[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_back_as_they_were() {
        let moment = |version| Moment { version, time: 1_700_000_000_000_000 + version as i64 };
        let member = |text: &str, cluster| Member {
            key: TextKey::of(text),
            cluster,
            joined: 3,
            represents: (text == "a").then_some(3),
            first_seen: moment(1),
            last_changed: moment(2),
        };
        let all = vec![member("a", u64::MAX >> 1), member("b", 7)];
        assert_eq!(members(columns(&all)).unwrap(), all);
        assert_eq!(members(columns(&[])).unwrap(), []);
        let mut flags = columns(&all);
        flags[3].1 = Column::Flags(vec![true, false]);
        let represents: Vec<Option<u32>> = members(flags).unwrap().iter().map(|member| member.represents).collect();
        assert_eq!(represents, [Some(0), None]);
    }
}
