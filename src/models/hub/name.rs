//! Names on the hub: `organisation/model[@revision]`.

use hf_hub::{Repo, RepoType};

/// A model's name on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubName {
    /// `organisation/model`.
    pub repository: String,
    /// Branch, tag or commit.
    pub revision: String,
}

impl HubName {
    /// `organisation/model[@revision]`; `None` for what cannot be a hub name: paths with other than one slash, a dot or
    /// slash at an end, or characters that the hub does not know.
    pub fn parse(text: &str) -> Option<Self> {
        let (repository, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (organisation, model) = repository.split_once('/')?;
        let letters = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        let part = |part: &str| !part.is_empty() && letters(part) && !part.starts_with('.') && !part.ends_with('.');
        let steps = || revision.split('/');
        let is_revision = !revision.is_empty() && steps().all(|step| letters(step) && !step.is_empty() && step != "..");
        (part(organisation) && part(model) && is_revision)
            .then(|| Self { repository: repository.into(), revision: revision.into() })
    }

    /// Whether the revision is a full commit hash, which never changes its meaning.
    pub fn is_commit(&self) -> bool {
        is_hash(&self.revision, 40)
    }

    /// The repository at this revision, as hf-hub knows it.
    pub fn repo(&self) -> Repo {
        Repo::with_revision(self.repository.clone(), RepoType::Model, self.revision.clone())
    }
}

impl std::fmt::Display for HubName {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self.revision.as_str() {
            "main" => f.write_str(&self.repository),
            revision => write!(f, "{}@{revision}", self.repository),
        }
    }
}

/// Whether `text` is `digits` lower-case hexadecimal digits.
pub fn is_hash(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_names_are_told_from_paths() {
        let parse = |text: &str| HubName::parse(text).map(|name| (name.repository, name.revision));
        let expected = |name: &str, revision: &str| Some((name.to_string(), revision.to_string()));
        assert_eq!(parse("org/all-MiniLM-L6-v2"), expected("org/all-MiniLM-L6-v2", "main"));
        assert_eq!(parse("org/m@refs/pr/3"), expected("org/m", "refs/pr/3"));
        for path in ["model", "./org/m", "/org/m", "a/b/c", "org/m/", "../m", "org/..", "org/m@", "org/m@../x", "o g/m"]
        {
            assert_eq!(parse(path), None, "{path}");
        }
        assert_eq!(HubName::parse("org/m@v1").unwrap().to_string(), "org/m@v1");
        assert_eq!(HubName::parse("org/m").unwrap().to_string(), "org/m");
    }
}
