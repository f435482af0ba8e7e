//! The table of rules.

use crate::labels::perturb::edit::Edit::{self, Beginning, Change, Inserted, Partner, Pattern};
use crate::labels::perturb::words;

/// One way to edit a question.
#[derive(Debug)]
pub struct Rule {
    pub name: &'static str,
    /// Whether the edited question asks the same.
    pub keeps_meaning: bool,
    /// Whether it only tests: no model is trained on it.
    pub held_out: bool,
    /// Whether it swaps arguments: not in questions that treat them alike.
    pub(super) swaps: bool,
    pub(super) edit: Edit,
}

const fn same(name: &'static str, edit: Edit) -> Rule {
    Rule { name, keeps_meaning: true, held_out: false, swaps: false, edit }
}

const fn other(name: &'static str, edit: Edit) -> Rule {
    Rule { name, keeps_meaning: false, held_out: false, swaps: false, edit }
}

const fn swap(name: &'static str, edit: Edit) -> Rule {
    Rule { swaps: true, ..other(name, edit) }
}

const fn held_out(rule: Rule) -> Rule {
    Rule { held_out: true, ..rule }
}

/// Every rule. Patterns are searched without case; `$a` and `$b` are words or names.
pub const RULES: [Rule; 28] = [
    // another meaning
    swap(
        "direction",
        Pattern(&[
            (r"\bfrom {a} to {b}", "from $b to $a"),
            (r"\b(?<v>convert|change|turn|translate|switch|transform) {a} (?<p>to|into) {b}", "$v $b $p $a"),
        ]),
    ),
    swap("around-preposition", Change(words::swap_around_preposition)),
    swap("subject-and-object", Change(words::swap_subject_and_object)),
    swap("names-swapped", Change(words::swap_names)),
    other("number", Change(words::change_number)),
    other("name", Change(words::change_name)),
    other("opposite", Partner(&OPPOSITES)),
    other(
        "negation",
        Pattern(&[
            (r"\bhow to (?<a>\w+)", "how not to $a"),
            (r"^(?<w>why|who|which) (?<v>do|does|did|is|are|was|were|should|would|could) ", "$w ${v}n't "),
            (r"^what (?<v>does|did|should|would|could) ", "What ${v}n't "),
            (
                r"\b(?<v>can|should|could|would|will|must|do|does|did) (?<s>I|you|we|they|people|someone|one|he|she) ",
                "$v $s not ",
            ),
        ]),
    ),
    other("condition", Inserted { before: &[], after: &CONDITIONS }),
    other(
        "question-word",
        Pattern(&[
            (r"^how (?<v>do|does|did|can|should|is|are|was|were|will|would) ", "Why $v "),
            (r"^why (?<v>do|does|did|can|should|is|are|was|were|will|would) ", "How $v "),
            (r"^why (?<v>do|does|did|is|are|was|were|will) ", "When $v "),
            (r"^when (?<v>do|does|did|is|are|was|were|will) ", "Where $v "),
            (r"^where (?<v>do|does|did|is|are|was|were|will|can) ", "When $v "),
        ]),
    ),
    other(
        "tense",
        Pattern(&[
            (r"^(?<w>what|where|how|when) will ", "$w did "),
            (r"^(?<w>what|where|why|how|when) did ", "$w will "),
            (r"^will ", "Did "),
            (r"^(do|does|did) ", "Will "),
        ]),
    ),
    held_out(other(
        "compared",
        Pattern(&[(
            r"\b(?<v>is|are|was|were|does|do) {a} (?<m>(?:\w+ )?(?:better|worse|more|less|faster|slower|bigger|larger|smaller|older|younger|cheaper|stronger|higher|lower|taller|smarter|harder|easier|safer|richer|greater)(?: \w+)? than) {b}",
            "$v $b $m $a",
        )]),
    )),
    held_out(other("number-word", Partner(&NUMBER_WORDS))),
    held_out(other("month-or-day", Change(words::change_month_or_day))),
    held_out(other("opposite-unseen", Partner(&UNSEEN_OPPOSITES))),
    // the same meaning
    same(
        "symmetric",
        Pattern(&[
            (r"\bbetween {a} and {b}\?", "between $b and $a?"),
            (
                r"(?<p>, |\b(?:is|are|buy|learn|use|choose|prefer|study|join|get|better) ){a} (?<c>or|vs\.?|versus) {b}\?",
                "$p$b $c $a?",
            ),
            (r"\b(?<v>are|do|can|did) {a} and {b} ", "$v $b and $a "),
        ]),
    ),
    same("how-to", Beginning(&HOW_TO)),
    same(
        "possessive",
        Pattern(&[
            (r"\bthe (?<a>[\w-]+) of (?<b>(?-i:[A-Z]\w+(?: [A-Z]\w+)*))\?", "${b}'s $a?"),
            (r" (?<b>(?-i:[A-Z]\w+(?: [A-Z]\w+)*))'s (?<a>\w+)\?", " the $a of $b?"),
        ]),
    ),
    same("contraction", Partner(&CONTRACTIONS)),
    same("misspelled", Change(words::misspell)),
    same("punctuation", Pattern(&[(r"\?$", ""), (r"\?$", " ?"), (r"\?$", "??"), (r",", ""), (r"(?<a>\w)$", "$a?")])),
    same("synonym", Partner(&SYNONYMS)),
    same("opening", Inserted { before: &OPENINGS, after: &[] }),
    same("filler", Pattern(&[(r" (really|actually|currently|exactly) ", " ")])),
    held_out(same("place-first", Pattern(&[(r"^(?<a>[^,]+) (?<p>in|on|at) (?<b>(?-i:[A-Z])\w+)\?$", "$p $b, $a?")]))),
    held_out(same(
        "difference",
        Pattern(&[
            (
                r"^what(?: is|'s| are) the (?:main |key |basic )?differences? between (?<a>[^,?]+) and (?<b>[^,?]+)\?$",
                "How does $b differ from $a?",
            ),
            (r"^which is better,? (?<a>[^,?]+) or (?<b>[^,?]+)\?$", "Is $b or $a better?"),
        ]),
    )),
    held_out(same("spelling", Partner(&SPELLINGS))),
    held_out(same("synonym-unseen", Partner(&UNSEEN_SYNONYMS))),
];

/// Beginnings of questions that ask for a way to do something.
const HOW_TO: [&str; 9] = [
    "How do I ",
    "How can I ",
    "How do you ",
    "How can one ",
    "How to ",
    "How should I ",
    "What is the best way to ",
    "What is a good way to ",
    "What should I do to ",
];

const OPENINGS: [&str; 6] = [
    "Can anyone tell me: ",
    "I want to know: ",
    "Just curious: ",
    "Please help: ",
    "Quick question: ",
    "My question is: ",
];

const CONDITIONS: [&str; 16] = [
    "without money",
    "in India",
    "in Germany",
    "for beginners",
    "after the age of 40",
    "at home",
    "for free",
    "on Android",
    "on a Mac",
    "as a student",
    "in one week",
    "without a degree",
    "with a small child",
    "during winter",
    "in Python",
    "for a wedding",
];

const OPPOSITES: [(&str, &str); 36] = [
    ("increase", "decrease"),
    ("buy", "sell"),
    ("learn", "teach"),
    ("gain", "lose"),
    ("before", "after"),
    ("with", "without"),
    ("male", "female"),
    ("men", "women"),
    ("man", "woman"),
    ("boys", "girls"),
    ("boy", "girl"),
    ("left", "right"),
    ("best", "worst"),
    ("good", "bad"),
    ("cheap", "expensive"),
    ("legal", "illegal"),
    ("safe", "dangerous"),
    ("start", "stop"),
    ("husband", "wife"),
    ("girlfriend", "boyfriend"),
    ("rich", "poor"),
    ("first", "last"),
    ("old", "new"),
    ("remove", "add"),
    ("married", "single"),
    ("open", "close"),
    ("inside", "outside"),
    ("possible", "impossible"),
    ("advantages", "disadvantages"),
    ("install", "uninstall"),
    ("enable", "disable"),
    ("send", "receive"),
    ("always", "never"),
    ("everyone", "nobody"),
    ("positive", "negative"),
    ("upload", "download"),
];

const UNSEEN_OPPOSITES: [(&str, &str); 16] = [
    ("love", "hate"),
    ("north", "south"),
    ("win", "fail"),
    ("faster", "slower"),
    ("higher", "lower"),
    ("more", "less"),
    ("mother", "father"),
    ("hot", "cold"),
    ("import", "export"),
    ("young", "elderly"),
    ("strong", "weak"),
    ("easy", "difficult"),
    ("big", "small"),
    ("long", "short"),
    ("true", "false"),
    ("minimum", "maximum"),
];

const NUMBER_WORDS: [(&str, &str); 8] = [
    ("two", "four"),
    ("three", "five"),
    ("ten", "seven"),
    ("six", "eight"),
    ("twice", "once"),
    ("hundred", "thousand"),
    ("million", "billion"),
    ("double", "triple"),
];

const CONTRACTIONS: [(&str, &str); 14] = [
    ("what is", "what's"),
    ("who is", "who's"),
    ("how is", "how's"),
    ("where is", "where's"),
    ("do not", "don't"),
    ("does not", "doesn't"),
    ("is not", "isn't"),
    ("are not", "aren't"),
    ("cannot", "can't"),
    ("will not", "won't"),
    ("did not", "didn't"),
    ("I am", "I'm"),
    ("I have", "I've"),
    ("it is", "it's"),
];

const SYNONYMS: [(&str, &str); 22] = [
    ("begin", "start"),
    ("movie", "film"),
    ("movies", "films"),
    ("buy", "purchase"),
    ("help", "assist"),
    ("quickly", "fast"),
    ("get rid of", "remove"),
    ("reduce", "decrease"),
    ("simple", "easy"),
    ("USA", "United States"),
    ("kids", "children"),
    ("earn money", "make money"),
    ("happen", "occur"),
    ("difference", "distinction"),
    ("important", "significant"),
    ("mobile phone", "cell phone"),
    ("picture", "photo"),
    ("pictures", "photos"),
    ("smart", "intelligent"),
    ("exam", "examination"),
    ("ways", "methods"),
    ("people", "persons"),
];

const UNSEEN_SYNONYMS: [(&str, &str); 13] = [
    ("big", "large"),
    ("job", "occupation"),
    ("car", "automobile"),
    ("doctor", "physician"),
    ("rich", "wealthy"),
    ("maybe", "perhaps"),
    ("effective", "efficient"),
    ("advantages", "benefits"),
    ("delete", "erase"),
    ("TV", "television"),
    ("fix", "repair"),
    ("choose", "select"),
    ("company", "firm"),
];

const SPELLINGS: [(&str, &str); 12] = [
    ("color", "colour"),
    ("favorite", "favourite"),
    ("center", "centre"),
    ("behavior", "behaviour"),
    ("organization", "organisation"),
    ("program", "programme"),
    ("labor", "labour"),
    ("defense", "defence"),
    ("neighbor", "neighbour"),
    ("traveling", "travelling"),
    ("theater", "theatre"),
    ("realize", "realise"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn both_labels_have_rules_to_train_on_and_to_test_with() {
        let of = |keeps, held_out| RULES.iter().filter(|r| r.keeps_meaning == keeps && r.held_out == held_out).count();
        assert_eq!([of(true, false), of(false, false), of(true, true), of(false, true)], [9, 11, 4, 4]);
        assert_eq!(RULES.iter().map(|rule| rule.name).collect::<HashSet<_>>().len(), RULES.len());
    }

    #[test]
    fn what_tests_is_not_what_trains() {
        let unordered = |&(a, b): &(&'static str, &'static str)| (a.min(b), a.max(b));
        let words = |table: &[(&'static str, &'static str)]| table.iter().map(unordered).collect::<HashSet<_>>();
        assert!(words(&OPPOSITES).is_disjoint(&words(&UNSEEN_OPPOSITES)));
        assert!(words(&SYNONYMS).is_disjoint(&words(&UNSEEN_SYNONYMS)));
    }
}
