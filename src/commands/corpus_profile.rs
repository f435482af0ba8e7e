//! What two models said of the corpus of a finished run.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::calibration::profile::Profile;
use crate::error::hint;
use crate::models::checkpoint::folder::ModelFolder;
use crate::run::decision::Scores;
use crate::run::reader::FinishedRun;
use crate::run::schema::{PairKind, PairRow};

/// Reads the scored pairs of a run of these two models.
pub fn profile_of(run: &Path, [bi_encoder, cross_encoder]: [&ModelFolder; 2]) -> Result<Profile> {
    let finished = FinishedRun::open(run)?;
    let models = &finished.manifest.models;
    let hashes = [Some(&models.bi_encoder), models.cross_encoder.as_ref()].map(|model| model.map(|model| &model.hash));
    let expected = [bi_encoder.fingerprint()?, cross_encoder.fingerprint()?];
    if hashes != expected.each_ref().map(Some) {
        return Err(hint(
            format!("--corpus {}: it is a run of other models", run.display()),
            format!("mine --bi-encoder {} --cross-encoder {} makes one", bi_encoder.name(), cross_encoder.name()),
        ));
    }
    let mut scored = Vec::new();
    for batch in finished.results.pairs()? {
        let semantic = batch?.into_iter().filter(|pair| pair.kind == PairKind::Semantic);
        let logit = |pair: &PairRow| Scores { logit_ab: pair.logit_ab, logit_ba: pair.logit_ba }.logit();
        scored.extend(semantic.filter_map(|pair| Some((pair.cosine, logit(&pair)?))));
    }
    let profile = Profile::of(scored.into_iter());
    ensure!(
        profile.fit(&profile).is_some(),
        "--corpus {}: it has too few reranked pairs with the same cosines: no run could be compared with it",
        run.display()
    );
    Ok(profile)
}
