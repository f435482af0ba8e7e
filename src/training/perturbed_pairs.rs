//! Adds pairs made by rules from the training questions: [`crate::labels::perturb`].

use std::borrow::Cow;
use std::collections::HashSet;

use anyhow::Result;

use crate::labels::perturb::draw::draw;
use crate::tables::labelled_pairs::LabelledPair;
use crate::text::normalise::normalise;
use crate::training::dataset::{Dataset, Example};

/// Adds up to `count` pairs and returns how many. An edit that is a question of the dataset is left out: labels say more of
/// it than a rule. So is one that is a question of the dev pairs.
pub fn add(dataset: &mut Dataset, dev: &[LabelledPair], count: usize, seed: u64) -> Result<usize> {
    let texts: Vec<&str> = dataset.texts.iter().collect();
    let of_dev = dev.iter().flat_map(|pair| [&pair.question1, &pair.question2]).map(|text| normalise(text));
    let known: HashSet<Cow<str>> = texts.iter().map(|&text| Cow::Borrowed(text)).chain(of_dev).collect();
    let mut drawn = draw(&texts, count, false, seed)?;
    drawn.retain(|pair| !known.contains(pair.edited.as_str()));
    for pair in &drawn {
        let cluster = dataset.clusters[pair.text as usize];
        let other = dataset.add_text(&pair.edited, pair.rule.keeps_meaning.then_some(cluster));
        let target = f32::from(pair.rule.keeps_meaning);
        dataset.examples.push(Example { question: pair.text, other, target, cluster, ..Example::default() });
    }
    Ok(drawn.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_is_a_duplicate_if_its_rule_keeps_the_meaning() {
        let texts: Vec<String> = (10..90)
            .map(|n| format!("{} fly to Rome in {n} days?", if n % 2 == 0 { "How do I" } else { "Who can" }))
            .collect();
        let clusters = (0..texts.len() as u32).collect();
        let mut dataset = Dataset { texts: texts.iter().collect(), clusters, ..Dataset::default() };
        let added = add(&mut dataset, &[], 400, 7).unwrap();
        assert!(added > 20 && dataset.examples.len() == added && dataset.texts.len() == texts.len() + added);
        let same = dataset.examples.iter().filter(|example| example.target > 0.5).count();
        assert!(same > 5 && same < added - 5, "{same} of {added}");
        for example in &dataset.examples {
            let shares = dataset.clusters[example.other as usize] == dataset.clusters[example.question as usize];
            assert_eq!(shares, example.target > 0.5);
            assert!(!texts.iter().any(|text| text == dataset.pair(example).1));
        }
    }
}
