//! Draws pairs made by the rules from a corpus.

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use crate::labels::perturb::edit::Compiled;
use crate::labels::perturb::rules::{RULES, Rule};
use crate::labels::perturb::words::{is_symmetric, names_of, shuffled};
use crate::text::normalise::normalise;

/// A question of the corpus and its edit.
#[derive(Debug, Clone)]
pub struct Perturbed {
    /// Number of the text that was edited.
    pub text: u32,
    pub edited: String,
    pub rule: &'static Rule,
}

/// Up to `count` pairs of `texts`, by the rules that are held out or by the others. Every text is used once. Both labels get
/// half of the pairs, and the rules of a label the same share, as far as they apply often enough.
pub fn draw(texts: &[&str], count: usize, held_out: bool, seed: u64) -> Result<Vec<Perturbed>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let names = names_of(texts.iter().copied());
    let compile = |rule: &'static Rule| Ok((rule, Compiled::new(&rule.edit).context(rule.name)?));
    let rules: Vec<(&'static Rule, Compiled)> =
        RULES.iter().filter(|rule| rule.held_out == held_out).map(compile).collect::<Result<_>>()?;
    let mut drawn: Vec<Vec<Perturbed>> = rules.iter().map(|_| Vec::new()).collect();
    let order = shuffled((0..texts.len() as u32).collect(), &mut random);
    let of_label = |keeps: bool| rules.iter().filter(move |(rule, _)| rule.keeps_meaning == keeps).count().max(1);
    let share = |rule: &Rule| (count / 2).div_ceil(of_label(rule.keeps_meaning));
    for text in order {
        let question = texts[text as usize];
        // the rule that is furthest behind its share comes first: rare rules get what there is
        let behind = |&at: &usize| (drawn[at].len() * 1000 / share(rules[at].0).max(1), at);
        let mut open: Vec<usize> = (0..rules.len()).filter(|&at| drawn[at].len() < share(rules[at].0)).collect();
        open.sort_by_key(behind);
        if open.is_empty() {
            break;
        }
        for at in open {
            let (rule, compiled) = &rules[at];
            if rule.swaps && is_symmetric(question) {
                continue;
            }
            let edited = compiled.apply(question, &names, &mut random).map(|text| normalise(&text).into_owned());
            if let Some(edited) = edited.filter(|edited| edited != question && !edited.is_empty()) {
                drawn[at].push(Perturbed { text, edited, rule });
                break;
            }
        }
    }
    Ok(balanced(drawn))
}

/// As many pairs of each label as the rarer one has; of the other label, the largest rules give up theirs.
fn balanced(mut drawn: Vec<Vec<Perturbed>>) -> Vec<Perturbed> {
    let of = |drawn: &[Vec<Perturbed>], keeps: bool| -> usize {
        drawn
            .iter()
            .filter(|pairs| pairs.first().is_some_and(|pair| pair.rule.keeps_meaning == keeps))
            .map(Vec::len)
            .sum()
    };
    let (same, other) = (of(&drawn, true), of(&drawn, false));
    let surplus =
        |pairs: &&mut Vec<Perturbed>| pairs.first().is_some_and(|pair| pair.rule.keeps_meaning == (same > other));
    for _ in 0..same.abs_diff(other) {
        if let Some(largest) = drawn.iter_mut().filter(surplus).max_by_key(|pairs| pairs.len()) {
            largest.pop();
        }
    }
    let mut all: Vec<Perturbed> = drawn.into_iter().flatten().collect();
    all.sort_by_key(|pair| pair.text);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["India", "Java", "New York"];

    fn edited(rule: &str, text: &str, seed: u64) -> Option<String> {
        let rule = RULES.iter().find(|other| other.name == rule).unwrap();
        let names = NAMES.map(String::from);
        Compiled::new(&rule.edit).unwrap().apply(text, &names, &mut ChaCha8Rng::seed_from_u64(seed))
    }

    #[test]
    fn every_rule_does_what_its_name_says() {
        for (rule, text, new) in [
            (
                "direction",
                "How do I fly from Delhi to New York cheaply?",
                "How do I fly from New York to Delhi cheaply?",
            ),
            ("direction", "How do I convert euros into dollars?", "How do I convert dollars into euros?"),
            ("around-preposition", "Is there a cover for a phone?", "Is there a phone for a cover?"),
            ("subject-and-object", "Do cats eat mice?", "Do mice eat cats?"),
            ("names-swapped", "Why did Germany attack Poland?", "Why did Poland attack Germany?"),
            ("opposite", "Best time to visit?", "Worst time to visit?"),
            ("negation", "What is a polite way how to answer?", "What is a polite way how not to answer?"),
            ("negation", "Why do birds sing?", "Why don't birds sing?"),
            ("question-word", "Where is the meeting?", "When is the meeting?"),
            ("tense", "Will it rain?", "Did it rain?"),
            ("compared", "Is tea much better than coffee?", "Is coffee much better than tea?"),
            ("number-word", "What to do in ten days?", "What to do in seven days?"),
            ("opposite-unseen", "Why do I hate rain?", "Why do I love rain?"),
            (
                "symmetric",
                "What is the difference between Java and Python?",
                "What is the difference between Python and Java?",
            ),
            ("symmetric", "Should I learn Java or Ruby?", "Should I learn Ruby or Java?"),
            ("possessive", "What is the capital of France?", "What is France's capital?"),
            ("possessive", "What is Donald Trump's IQ?", "What is the IQ of Donald Trump?"),
            ("contraction", "What is love?", "What's love?"),
            ("synonym", "Which film is long?", "Which movie is long?"),
            ("filler", "Does it really work?", "Does it work?"),
            ("place-first", "How do I find work in Canada?", "In Canada, How do I find work?"),
            ("difference", "What is the difference between a cat and a dog?", "How does a dog differ from a cat?"),
            ("spelling", "What is your favourite food?", "What is your favorite food?"),
            ("synonym-unseen", "Which car is best?", "Which automobile is best?"),
        ] {
            let edits: Vec<String> = (0..20).filter_map(|seed| edited(rule, text, seed)).collect();
            assert!(edits.iter().any(|edit| edit.eq_ignore_ascii_case(new)), "{rule}: {text:?} became {edits:?}");
        }
        for seed in 0..50 {
            let years = edited("number", "Who won in 2014?", seed).unwrap();
            assert!(years != "Who won in 2014?" && years.len() == 16, "{years}");
            assert_ne!(edited("number", "Is 9 enough?", seed).unwrap(), "Is 9 enough?");
            assert_ne!(edited("month-or-day", "Is it warm in May?", seed).unwrap(), "Is it warm in May?");
            let how = edited("how-to", "How do I sleep?", seed).unwrap();
            assert!(how != "How do I sleep?" && how.ends_with(" sleep?"), "{how}");
            let name = edited("name", "How is life in Kenya?", seed).unwrap();
            assert!(NAMES.iter().any(|other| name == format!("How is life in {other}?")), "{name}");
            let condition = edited("condition", "How do I sleep?", seed).unwrap();
            assert!(condition.len() > 15 && condition.starts_with("How do I sleep ") && condition.ends_with('?'));
            assert!(edited("opening", "How do I sleep?", seed).unwrap().ends_with(": How do I sleep?"));
            assert_ne!(edited("punctuation", "How do I sleep?", seed).unwrap(), "How do I sleep?");
            if let Some(misspelled) = edited("misspelled", "Is this difficult?", seed) {
                let letters = |text: &str| {
                    let mut letters: Vec<char> = text.chars().collect();
                    letters.sort_unstable();
                    letters
                };
                assert!(misspelled != "Is this difficult?" && letters(&misspelled) == letters("Is this difficult?"));
            }
        }
    }

    #[test]
    fn a_rule_does_not_apply_where_the_label_would_be_wrong() {
        for (rule, text) in [
            ("names-swapped", "Why do Germany and Poland trade?"),
            ("subject-and-object", "Do I need money?"),
            ("around-preposition", "What is the best way to do it?"),
            ("condition", "I am ill. What now?"),
            ("month-or-day", "May I ask?"),
            ("direction", "What is it made from?"),
            ("symmetric", "Should I buy a phone or a laptop?"),
            ("symmetric", "Can you and your friends swim?"),
            ("place-first", "How do I get in shape?"),
        ] {
            assert_eq!(edited(rule, text, 1), None, "{rule}");
        }
    }

    #[test]
    fn a_draw_is_balanced_and_the_same_again() {
        let texts: Vec<String> = (0..400)
            .map(|n| match n % 4 {
                0 => format!("How do I go from Delhi to Paris in {n} days?"),
                1 => format!("What is the best movie of {n}?"),
                2 => format!("Can I buy {n} phones, Android or Apple?"),
                _ => format!("Is number {n} really important?"),
            })
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let pairs = draw(&texts, 100, false, 1).unwrap();
        let same = pairs.iter().filter(|pair| pair.rule.keeps_meaning).count();
        assert!(same * 2 == pairs.len() && pairs.len() > 60 && pairs.len() <= 110, "{same} of {}", pairs.len());
        assert!(pairs.iter().all(|pair| !pair.rule.held_out && pair.edited != texts[pair.text as usize]));
        let again = draw(&texts, 100, false, 1).unwrap();
        let edits = |pairs: &[Perturbed]| pairs.iter().map(|pair| (pair.text, pair.edited.clone())).collect::<Vec<_>>();
        assert_eq!(edits(&pairs), edits(&again));
        assert_ne!(edits(&pairs), edits(&draw(&texts, 100, false, 2).unwrap()));
        assert!(draw(&texts, 100, true, 1).unwrap().iter().all(|pair| pair.rule.held_out));
    }
}
