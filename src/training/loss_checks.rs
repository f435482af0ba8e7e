//! Which losses, kinds of model and options go together.

use anyhow::Result;

use crate::error::usage;
use crate::losses::mix::{Loss, Mix};
use crate::models::checkpoint::kind::Kind;
use crate::training::options::RawTrainOptions;

/// Refuses losses that the kind of model has no outputs for, and those whose teacher or negatives are missing.
pub fn check(loss: &Mix, kind: Kind, raw: &RawTrainOptions) -> Result<()> {
    for one in loss.losses() {
        if one.kind() != kind {
            let wanted = match kind {
                Kind::Bi => "a bi-encoder",
                Kind::Cross => "a cross-encoder",
                Kind::Siamese => "a siamese classifier",
            };
            return Err(usage(format!("--loss {}: not a loss for {wanted}", one.name())));
        }
        if one.needs_teacher() && raw.teacher.is_none() {
            return Err(usage(format!("--loss {}: learns from a teacher; name it with --teacher", one.name())));
        }
        if one == Loss::MarginMse && raw.hard_negatives.unwrap_or(0) == 0 {
            return Err(usage("--loss margin-mse: needs negatives; ask for them with --hard-negatives"));
        }
        if one == Loss::CosineDistillation && loss.losses().any(|other| other == Loss::MarginMse) {
            return Err(usage(
                "--loss cosine-distillation and margin-mse need teachers of two kinds: train in two runs",
            ));
        }
    }
    // margins need negatives, which only duplicates have
    let other = loss.losses().find(|one| one.uses_others());
    if let (true, Some(other)) = (loss.any(|one| one == Loss::MarginMse), other) {
        return Err(usage(format!(
            "--loss margin-mse and {}: margin-mse learns from duplicates alone; train in two runs",
            other.name()
        )));
    }
    if loss.any(|one| one == Loss::ScoreDistillation) && loss.any(|one| one == Loss::BinaryCrossEntropy) {
        return Err(usage(
            "--loss score-distillation and binary-cross-entropy: the target is a teacher's logit or a label, not both; \
             train in two runs",
        ));
    }
    if raw.teacher_weight.is_some_and(|weight| weight > 0.0) {
        if !loss.any(|one| one == Loss::BinaryCrossEntropy) {
            return Err(usage("--teacher-weight: only binary-cross-entropy takes a probability for a label"));
        }
        if raw.teacher.is_none() {
            return Err(usage("--teacher-weight: whose probability? name a cross-encoder with --teacher"));
        }
    }
    if raw.mined_pairs.is_some() && raw.teacher.is_none() {
        return Err(usage("--mined-pairs: a teacher labels them; name it with --teacher"));
    }
    // a mined pair is as much a duplicate as its label says, which other losses do not look at
    let blind = loss.losses().find(|one| !one.contrasts() && *one != Loss::ScoreDistillation);
    if let (true, Some(blind)) = (raw.mined_pairs.is_some(), blind) {
        return Err(usage(format!("--mined-pairs: {} does not look at labels; take another --loss", blind.name())));
    }
    if raw.mined_pairs.is_some() && raw.hard_negatives.is_some() {
        return Err(usage("--mined-pairs and --hard-negatives do not go together: train in two runs"));
    }
    let of_labels = loss.losses().all(Loss::contrasts);
    if raw.perturbed_pairs.is_some() && !of_labels {
        return Err(usage(
            "--perturbed-pairs: rules say which of them are duplicates; take a --loss that learns from labels",
        ));
    }
    if raw.cosine_pairs.is_some() && !loss.losses().all(|one| one == Loss::BinaryCrossEntropy) {
        return Err(usage("--cosine-pairs: only binary-cross-entropy takes a probability for a label"));
    }
    Ok(())
}
