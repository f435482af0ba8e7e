//! How a rule edits a question.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use regex::{Captures, Regex, RegexBuilder};

use crate::labels::perturb::words::is_function_word;

/// What `{a}` and `{b}` in patterns stand for: a word, or a name of several words.
const TERM: &str = r"(?:[A-Z][\w-]*(?: [A-Z][\w-]*)+|[\w-]+)";

/// What a rule does with a question.
#[derive(Debug)]
pub(super) enum Edit {
    /// One of the patterns that match is replaced by its template, once.
    Pattern(&'static [(&'static str, &'static str)]),
    /// A word or phrase gives way to its partner, in either direction.
    Partner(&'static [(&'static str, &'static str)]),
    /// One of these beginnings gives way to another.
    Beginning(&'static [&'static str]),
    /// One of these comes before the question or at its end.
    Inserted { before: &'static [&'static str], after: &'static [&'static str] },
    /// What no table can say. The names are those of the corpus.
    Change(fn(&str, &[String], &mut ChaCha8Rng) -> Option<String>),
}

/// An edit whose patterns are compiled.
pub(super) struct Compiled {
    edit: &'static Edit,
    patterns: Vec<(Regex, &'static str)>,
}

impl Compiled {
    pub fn new(edit: &'static Edit) -> Result<Self, regex::Error> {
        let pattern = |&(pattern, template): &(&str, &'static str)| {
            let a = format!("(?<a>{TERM})");
            let b = format!("(?<b>{TERM})");
            // names are told by their capital: only what stands outside of terms ignores case
            let pattern = pattern.replace("{a}", &format!("(?-i:{a})")).replace("{b}", &format!("(?-i:{b})"));
            Ok((RegexBuilder::new(&pattern).case_insensitive(true).build()?, template))
        };
        let patterns = match edit {
            Edit::Pattern(all) => all.iter().map(pattern).collect::<Result<_, regex::Error>>()?,
            Edit::Partner(all) => {
                let both = all.iter().flat_map(|&(one, two)| [(one, two), (two, one)]);
                let word = |(from, to): (&'static str, &'static str)| {
                    Ok((RegexBuilder::new(&format!(r"\b{from}\b")).case_insensitive(true).build()?, to))
                };
                both.map(word).collect::<Result<_, regex::Error>>()?
            }
            _ => Vec::new(),
        };
        Ok(Self { edit, patterns })
    }

    /// The edited question, or `None` if the rule does not apply.
    pub fn apply(&self, text: &str, names: &[String], random: &mut ChaCha8Rng) -> Option<String> {
        match self.edit {
            Edit::Pattern(_) | Edit::Partner(_) => {
                let matching: Vec<&(Regex, &str)> = self.patterns.iter().filter(|(p, _)| fits(p, text)).collect();
                let (pattern, template) = matching.get(random.random_range(0..matching.len().max(1)))?;
                Some(replace(pattern, text, template))
            }
            Edit::Beginning(all) => {
                let (begun, rest) = all.iter().find_map(|&begun| Some((begun, text.strip_prefix(begun)?)))?;
                let others: Vec<&&str> = all.iter().filter(|other| **other != begun).collect();
                Some(format!("{}{rest}", others.get(random.random_range(0..others.len()))?))
            }
            Edit::Inserted { before, after } => {
                let pick = |all: &[&'static str], random: &mut ChaCha8Rng| {
                    if all.is_empty() { "" } else { all[random.random_range(0..all.len())] }
                };
                let (first, last) = (pick(before, random), pick(after, random));
                if last.is_empty() {
                    return Some(format!("{first}{text}"));
                }
                let question = text.strip_suffix('?')?;
                let says_it = question.to_lowercase().contains(&last.to_lowercase());
                (!says_it && !question.contains(['?', '.'])).then(|| format!("{first}{question} {last}?"))
            }
            Edit::Change(change) => change(text, names, random),
        }
    }
}

/// Whether the pattern matches with arguments that are no function words.
fn fits(pattern: &Regex, text: &str) -> bool {
    let is_argument =
        |found: &Captures, name: &str| found.name(name).is_none_or(|word| !is_function_word(word.as_str()));
    pattern.captures(text).is_some_and(|found| is_argument(&found, "a") && is_argument(&found, "b"))
}

/// `text` with the first match replaced; a capital letter at the match's beginning stays one.
fn replace(pattern: &Regex, text: &str, template: &str) -> String {
    let new = |found: &Captures| {
        let mut new = String::new();
        found.expand(template, &mut new);
        match found[0].starts_with(char::is_uppercase) {
            true => capitalised(&new),
            false => new,
        }
    };
    pattern.replace(text, new).into_owned()
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
