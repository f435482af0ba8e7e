//! Two texts that someone typed: whether a run would call them duplicates, step by step.

use serde::Serialize;

use crate::run::decision::{Rule, Scores};
use crate::text::key::TextKey;
use crate::text::visible::visible;
use crate::view::block::{Block, CHARACTERS};
use crate::view::pair::score;

/// A text as the models read it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReadText {
    pub text: String,
    pub normalised: String,
    pub tokens: Vec<String>,
    pub truncated: bool,
    /// Whether the vocabulary knows no word of it.
    pub unknown: bool,
}

/// The two texts, and the scores that the models gave them.
pub struct ScoredTexts {
    pub a: ReadText,
    pub b: ReadText,
    pub cosine: f32,
    /// Both orders, even if a run would score only one.
    pub scores: Scores,
}

/// Everything that decides about two texts.
#[derive(Debug, Serialize)]
pub struct Explanation {
    pub a: ReadText,
    pub b: ReadText,
    /// `exact` or `normalised` if both are one text.
    pub same: Option<&'static str>,
    pub cosine: f32,
    /// The minimum cosine of a candidate.
    #[serde(rename = "floor")]
    pub min_cosine: f32,
    pub is_candidate: bool,
    pub score_ab: Option<f32>,
    pub score_ba: Option<f32>,
    /// From the orders that a run would score.
    pub probability: Option<f32>,
    pub threshold: f32,
    pub is_duplicate: bool,
    pub why: Vec<String>,
}

/// What a run with this minimum cosine and this rule would say.
pub fn explain(texts: ScoredTexts, min_cosine: f32, rule: &Rule) -> Explanation {
    let ScoredTexts { a, b, cosine, scores } = texts;
    let same = match (a.text == b.text, a.normalised == b.normalised) {
        (true, _) => Some("exact"),
        (false, true) => Some("normalised"),
        (false, false) => None,
    };
    let is_unknown = a.unknown || b.unknown;
    let is_candidate = cosine >= min_cosine && !is_unknown;
    let one_order = first_order(&a, &b, scores);
    let needs_both = one_order.logit().is_some_and(|logit| rule.is_open(logit, cosine));
    let is_reranked = rule.should_rerank(cosine);
    let asked = if needs_both { scores } else { one_order };
    let verdict = rule.decide(cosine, if is_reranked { asked } else { Scores::default() });
    let probability = if same.is_some() { Some(1.0) } else { verdict.probability };
    let is_duplicate = same.is_some() || (is_candidate && verdict.is_duplicate == Some(true));
    let why = match same {
        Some("exact") => vec!["the texts are the same bytes: a run joins them without asking a model".into()],
        Some(_) => vec!["the texts are the same after normalisation: a run joins them without asking a model".into()],
        None if is_unknown => vec!["the vocabulary knows no word of a text: a run finds no candidates for it".into()],
        None if !is_candidate => {
            vec![format!("the cosine is below the minimum cosine {min_cosine}: a run would not look at the pair")]
        }
        None => candidate_steps(rule, (cosine, min_cosine), is_reranked, needs_both, is_duplicate),
    };
    let Scores { logit_ab: score_ab, logit_ba: score_ba } = scores;
    Explanation {
        a,
        b,
        same,
        cosine,
        min_cosine,
        is_candidate,
        score_ab,
        score_ba,
        probability,
        threshold: rule.threshold,
        is_duplicate,
        why,
    }
}

/// The order that a run scores first: it starts with the text that has the smaller key.
fn first_order(a: &ReadText, b: &ReadText, scores: Scores) -> Scores {
    match TextKey::of(&a.normalised) <= TextKey::of(&b.normalised) {
        true => Scores { logit_ba: None, ..scores },
        false => Scores { logit_ab: None, ..scores },
    }
}

/// The steps of a candidate pair.
fn candidate_steps(
    rule: &Rule,
    (cosine, min_cosine): (f32, f32),
    is_reranked: bool,
    needs_both: bool,
    is_duplicate: bool,
) -> Vec<String> {
    let (threshold, margin) = (rule.threshold, rule.swap_margin);
    let side = if is_duplicate { "reaches" } else { "is below" };
    let mut why =
        vec![format!("the cosine reaches the minimum cosine {min_cosine}: a candidate, if among the k nearest")];
    let Some(decision) = &rule.calibrated else {
        why.push(format!("the cosine, which decides alone, {side} the threshold {threshold}"));
        return why;
    };
    if let (false, true, Some(ceiling)) = (is_reranked, rule.can_be_duplicate(cosine), decision.rerank_ceiling) {
        why.push(format!(
            "the cosine is above the rerank ceiling {}: a run skips the cross-encoder, and the cosine decides",
            ceiling.cosine
        ));
        why.push(format!("the probability {side} the threshold {threshold}"));
        return why;
    }
    if !is_reranked {
        let floor = decision.rerank_floor.unwrap_or_default();
        return vec![format!(
            "the cosine is below the rerank floor {floor}: a run skips the cross-encoder and calls the pair different"
        )];
    }
    if rule.unasked.is_some() {
        why.push("this run reranked a share of such pairs, and the cosine decided about the others".into());
    }
    if decision.cosine_weight > 0.0 {
        why.push(format!("the probability is that of the logit plus {:.1} times the cosine", decision.cosine_weight));
    }
    why.push(match needs_both {
        true => {
            format!("the first order is within {margin} logits of the threshold: a run scores both and takes the mean")
        }
        false => {
            format!("the first order is more than {margin} logits from the threshold: a run does not score the second")
        }
    });
    why.push(format!("the probability {side} the threshold {threshold}"));
    why
}

/// The explanation for the terminal.
pub fn lines(explained: &Explanation) -> Vec<Block> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_string(), value]);
    for (name, text) in [("a", &explained.a), ("b", &explained.b)] {
        row(name, visible(&text.normalised, CHARACTERS));
        let cut = if text.truncated { ", the rest is cut" } else { "" };
        row("", format!("{} tokens{cut}: {}", text.tokens.len(), visible(&text.tokens.join(" "), 2 * CHARACTERS)));
    }
    row("cosine", score(Some(explained.cosine)));
    if let (Some(ab), Some(ba)) = (explained.score_ab, explained.score_ba) {
        row("cross-encoder", format!("logits {ab:.4} (a, b) and {ba:.4} (b, a)"));
    }
    if let Some(p) = explained.probability {
        row("probability", format!("{p:.4}, threshold {}", explained.threshold));
    }
    row("verdict", if explained.is_duplicate { "duplicates" } else { "not duplicates" }.into());
    for (at, why) in explained.why.iter().enumerate() {
        row(if at == 0 { "why" } else { "" }, why.clone());
    }
    vec![Block::table(&[], &[], rows)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Calibrator;
    use crate::calibration::decision::Decision;

    fn text(text: &str) -> ReadText {
        let text = text.to_string();
        ReadText { normalised: text.clone(), text, tokens: Vec::new(), truncated: false, unknown: false }
    }

    fn explained(cosine: f32, logits: [f32; 2]) -> Explanation {
        let calibrator = Calibrator::Platt { slope: 1.0, intercept: 0.0 };
        let decision =
            Decision { cosine_weight: 0.0, calibrator, threshold: 0.5, rerank_floor: Some(0.6), rerank_ceiling: None };
        let rule = Rule { threshold: 0.5, swap_margin: 1.0, calibrated: Some(decision), unasked: None };
        let scores = Scores { logit_ab: Some(logits[0]), logit_ba: Some(logits[1]) };
        explain(ScoredTexts { a: text("a"), b: text("b"), cosine, scores }, 0.5, &rule)
    }

    #[test]
    fn each_pair_has_the_steps_that_decide_it() {
        let below = explained(0.4, [5.0, 5.0]);
        assert!(!below.is_candidate && !below.is_duplicate && below.why[0].contains("minimum cosine 0.5"));
        let skipped = explained(0.55, [5.0, 5.0]);
        assert!(skipped.is_candidate && !skipped.is_duplicate && skipped.why[0].contains("rerank floor 0.6"));
        assert_eq!(skipped.probability, None);
        let sure = explained(0.7, [5.0, 5.0]);
        assert!(sure.is_duplicate && sure.why[1].contains("does not score the second"), "{:?}", sure.why);
        // the mean of both logits decides
        let open = explained(0.7, [0.5, -0.9]);
        assert!(!open.is_duplicate && open.why[1].contains("scores both"), "{:?}", open.why);
        assert!(open.why[2].contains("is below the threshold 0.5"));
    }

    #[test]
    fn copies_are_duplicates_whatever_the_models_say() {
        let rule = Rule { threshold: 0.9, swap_margin: 1.0, calibrated: None, unasked: None };
        let copies = ScoredTexts { a: text("a"), b: text("a"), cosine: 0.2, scores: Scores::default() };
        let explained = explain(copies, 0.5, &rule);
        assert_eq!((explained.same, explained.probability, explained.is_duplicate), (Some("exact"), Some(1.0), true));
    }
}
