//! Edits that look at the words of a question one by one.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::LazyLock;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

/// A name is taken from the corpus if it occurs there at least this often.
const LEAST_NAME_COUNT: usize = 3;

const PREPOSITIONS: [&str; 16] = [
    "of", "for", "to", "in", "into", "with", "without", "before", "after", "on", "by", "against", "under", "over",
    "about", "from",
];

/// Between these, names can change places and the question stays the same.
const SYMMETRIC: [&str; 6] = ["and", "or", "vs", "vs.", "versus", "between"];

/// Parts of words of questions that treat their arguments alike; "than" is a rule of its own, which only tests.
const ALIKE: [&str; 11] =
    ["distance", "far ", "differ", "similar", "compar", "between", "mix", " than ", "relation", "same", "together"];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Words that are no argument of a question.
static FUNCTION_WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    "a an the this that these those i you we they he she it me him her us them my your our their his its one someone anyone \
     people there here what which who whom whose when where why how do does did is are was were be been being am can could \
     will would shall should may might must have has had not no and or but if as than then so such very more most much many \
     some any all every each other another best way ways good order get got going make made like want need know used use \
     deal terms case front addition charge favor favour love look looking apply"
        .split_whitespace()
        .collect()
});

/// All of `items` in an order of chance.
pub(super) fn shuffled<T>(mut items: Vec<T>, random: &mut ChaCha8Rng) -> Vec<T> {
    items.shuffle(random);
    items
}

/// Places of the words of a text, without the punctuation around them.
fn words(text: &str) -> Vec<Range<usize>> {
    let letters = |c: char| c.is_alphanumeric() || c == '\'' || c == '-';
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, c) in text.char_indices().filter(|&(_, c)| letters(c)) {
        match found.last_mut().filter(|last| last.end == at) {
            Some(last) => last.end = at + c.len_utf8(),
            None => found.push(at..at + c.len_utf8()),
        }
    }
    found
}

/// `text` with each range replaced; the ranges are in order and do not overlap.
fn replaced(text: &str, changes: &[(Range<usize>, &str)]) -> String {
    let mut new = String::new();
    let mut done = 0;
    for (range, with) in changes {
        new.push_str(&text[done..range.start]);
        new.push_str(with);
        done = range.end;
    }
    new + &text[done..]
}

fn swapped(text: &str, a: &Range<usize>, b: &Range<usize>) -> String {
    replaced(text, &[(a.clone(), &text[b.clone()]), (b.clone(), &text[a.clone()])])
}

/// Whether a word is no argument of a question.
pub(super) fn is_function_word(word: &str) -> bool {
    FUNCTION_WORDS.contains(word.to_lowercase().as_str())
}

fn is_argument(word: &str) -> bool {
    word.len() > 2 && word.chars().all(char::is_alphabetic) && !is_function_word(word)
}

/// Whether the question treats its arguments alike, so that swapping them changes nothing.
pub(super) fn is_symmetric(text: &str) -> bool {
    let text = text.to_lowercase();
    ALIKE.iter().any(|word| text.contains(word))
}

/// Names: words with a capital letter inside a sentence, several in a row as one.
fn names(text: &str) -> Vec<Range<usize>> {
    let all = words(text);
    let is_name = |at: usize| {
        let word = &text[all[at].clone()];
        let inside = at > 0 && text[all[at - 1].end..all[at].start].chars().all(|c| c == ' ' || c == ',');
        let mut letters = word.chars();
        inside && word.len() > 2 && letters.next().is_some_and(char::is_uppercase) && letters.all(char::is_alphabetic)
    };
    let mut found: Vec<Range<usize>> = Vec::new();
    for at in (0..all.len()).filter(|&at| is_name(at)) {
        match found.last_mut().filter(|last| &text[last.end..all[at].start] == " ") {
            Some(last) => last.end = all[at].end,
            None => found.push(all[at].clone()),
        }
    }
    found
}

/// Names of many texts that occur more than once or twice, in alphabetical order.
pub(super) fn names_of<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for text in texts {
        names(text).into_iter().for_each(|range| *counts.entry(&text[range]).or_default() += 1);
    }
    counts.into_iter().filter(|(_, count)| *count >= LEAST_NAME_COUNT).map(|(name, _)| name.to_string()).collect()
}

/// "a cover for a phone": "a phone for a cover".
pub(super) fn swap_around_preposition(text: &str, _: &[String], random: &mut ChaCha8Rng) -> Option<String> {
    let all = words(text);
    let argument = |at: usize| all.get(at).filter(|range| is_argument(&text[(*range).clone()]));
    let is_article = |at: usize| all.get(at).is_some_and(|range| matches!(&text[range.clone()], "a" | "an" | "the"));
    let around = |at: usize| {
        let word = &text[all[at].clone()];
        let after = at + 1 + usize::from(is_article(at + 1));
        let pair = (argument(at.checked_sub(1)?)?, argument(after)?);
        PREPOSITIONS.contains(&word).then_some(pair)
    };
    let found = shuffled((0..all.len()).filter_map(around).collect(), random);
    let (a, b) = found.first()?;
    Some(swapped(text, a, b))
}

/// "Do cats eat mice?": "Do mice eat cats?".
pub(super) fn swap_subject_and_object(text: &str, _: &[String], _: &mut ChaCha8Rng) -> Option<String> {
    let all = words(text);
    let word = |at: usize| all.get(at).map_or("", |range: &Range<usize>| &text[range.clone()]);
    let asks = matches!(word(0), "Can" | "Do" | "Does" | "Did" | "Will" | "Should" | "Could" | "Would");
    let subject = 1 + usize::from(matches!(word(1), "a" | "an" | "the"));
    let object = all.len().checked_sub(1)?;
    let verb = subject + 1;
    let is_short = object == verb + 1 || object == verb + 2 && matches!(word(verb + 1), "a" | "an" | "the");
    let fits = asks && is_short && is_argument(word(subject)) && is_argument(word(object));
    fits.then(|| swapped(text, &all[subject], &all[object]))
}

/// Two names change places, unless the question treats them alike.
pub(super) fn swap_names(text: &str, _: &[String], random: &mut ChaCha8Rng) -> Option<String> {
    let all = names(text);
    let differs = |pair: &(&Range<usize>, &Range<usize>)| {
        let between = &text[pair.0.end..pair.1.start];
        let alike = between.split_whitespace().any(|word| SYMMETRIC.contains(&word.trim_matches(',')));
        let reads_on = between.chars().any(char::is_alphabetic);
        reads_on && !alike && !between.contains(',') && text[pair.0.clone()] != text[pair.1.clone()]
    };
    let pairs = shuffled(all.iter().zip(all.iter().skip(1)).filter(differs).collect(), random);
    let (a, b) = pairs.first()?;
    Some(swapped(text, a, b))
}

/// A number becomes another of as many digits.
pub(super) fn change_number(text: &str, _: &[String], random: &mut ChaCha8Rng) -> Option<String> {
    let is_number = |range: &Range<usize>| text[range.clone()].chars().all(|c| c.is_ascii_digit());
    let all = shuffled(words(text).into_iter().filter(is_number).filter(|range| range.len() < 7).collect(), random);
    let range = all.first()?;
    let old: u64 = text[range.clone()].parse().ok()?;
    let least = if range.len() == 1 { 1 } else { 10_u64.pow(range.len() as u32 - 1) };
    // a year stays near, as another year would be
    let (least, most) = if (1900..2100).contains(&old) { (old - 12, old + 12) } else { (least, least * 10 - 1) };
    let drawn = random.random_range(least..most);
    let new = if drawn >= old { drawn + 1 } else { drawn };
    Some(replaced(text, &[(range.clone(), &new.to_string())]))
}

/// A name becomes another name of the corpus.
pub(super) fn change_name(text: &str, known: &[String], random: &mut ChaCha8Rng) -> Option<String> {
    let all = shuffled(names(text), random);
    let range = all.first()?;
    let new = known.get(random.random_range(0..known.len().max(1)))?;
    (text[range.clone()] != *new).then(|| replaced(text, &[(range.clone(), new)]))
}

/// A month or a day of the week becomes another.
pub(super) fn change_month_or_day(text: &str, _: &[String], random: &mut ChaCha8Rng) -> Option<String> {
    // "May" at the beginning is a verb
    let all = words(text);
    let table = |word: &str| [&MONTHS[..], &DAYS[..]].into_iter().find(|table| table.contains(&word));
    let (range, table) = all.iter().skip(1).find_map(|range| Some((range, table(&text[range.clone()])?)))?;
    let others: Vec<&&str> = table.iter().filter(|other| **other != &text[range.clone()]).collect();
    Some(replaced(text, &[(range.clone(), others[random.random_range(0..others.len())])]))
}

/// Two neighbouring letters inside a longer word change places.
pub(super) fn misspell(text: &str, _: &[String], random: &mut ChaCha8Rng) -> Option<String> {
    let is_long = |range: &Range<usize>| {
        let word = &text[range.clone()];
        word.len() >= 6 && word.chars().all(|c| c.is_ascii_lowercase())
    };
    let all = shuffled(words(text).into_iter().filter(is_long).collect(), random);
    let range = all.first()?;
    let at = random.random_range(range.start + 1..range.end - 2);
    let (one, two) = (&text[at..at + 1], &text[at + 1..at + 2]);
    (one != two).then(|| replaced(text, &[(at..at + 2, &format!("{two}{one}"))]))
}
