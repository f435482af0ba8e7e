//! Which question represents a cluster: `--keep`. A choice of rows alone: no cluster, id or score depends on it.

use std::cmp::Reverse;

use crate::mining::cluster::Known;
use crate::mining::collapse::UniqueTexts;
use crate::mining::rows::Group;
use crate::run::keep::Keep;
use crate::tables::questions::Questions;

/// What the choice can look at.
pub struct Choice<'a> {
    pub keep: &'a Keep,
    pub questions: &'a Questions,
    pub unique: &'a UniqueTexts,
    pub known: Option<&'a Known>,
}

impl Choice<'_> {
    /// The clusters with the questions that represent them.
    pub fn represent(&self, groups: Vec<Group>) -> Vec<Group> {
        groups.into_iter().map(|group| Group { representative: self.of(&group), ..group }).collect()
    }

    /// The question that represents a cluster. One of the reference keeps its own representative.
    fn of(&self, group: &Group) -> u32 {
        if let Some(known) = self.known
            && let Some(cluster) = known.cluster_with(&group.texts)
        {
            return known.question[cluster as usize].unwrap_or(group.representative);
        }
        let all = group.questions.iter().copied();
        let best = match (self.keep, &self.questions.ranking) {
            (Keep::MostCentral, _) | (Keep::Column { .. }, None) => None,
            // questions are in the order of their ids
            (Keep::First, _) => all.min(),
            (Keep::Longest, _) => all.max_by_key(|&question| (self.characters(question), Reverse(question))),
            (Keep::Column { lowest, .. }, Some(ranking)) => {
                all.max_by(|&a, &b| ranking.rank(a, b, *lowest).then(b.cmp(&a)))
            }
        };
        best.unwrap_or(group.representative)
    }

    fn characters(&self, question: u32) -> usize {
        self.unique.texts.get(self.unique.text_of[question as usize] as usize).chars().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mining::collapse::collapse;
    use crate::tables::questions::of_texts;

    #[test]
    fn the_best_question_wins_and_the_smallest_id_of_equal_ones() {
        // ö is one character of two bytes, and white space at the ends is no part of a text
        let questions = of_texts(["cool", "cöol", "coal   ", "coolest", "cöölest", "x"].map(String::from).into_iter());
        let unique = collapse(&questions.texts, &[]);
        let members = [0, 1, 2, 3, 4];
        let texts: Vec<u32> = members.iter().map(|&at| unique.text_of[at as usize]).collect();
        let of = |keep: &Keep, members: &[u32]| {
            let group = Group { number: 0, questions: members.to_vec(), texts: texts.clone(), representative: 2 };
            Choice { keep, questions: &questions, unique: &unique, known: None }.represent(vec![group])[0]
                .representative
        };
        assert_eq!(of(&Keep::MostCentral, &members), 2);
        assert_eq!(of(&Keep::First, &members), 0);
        assert_eq!(of(&Keep::Longest, &members), 3);
        assert_eq!(of(&Keep::Longest, &members[..3]), 0);
    }
}
