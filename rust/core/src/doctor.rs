//! What the engine needs of the machine, and whether it is there. Looking has no side effects: nothing is mounted, no
//! namespace entered, no group made.

mod cgroups;
mod kernel;
mod place;
mod rights;

use std::path::Path;

/// A feature that the engine uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Short name.
    pub name: String,
    /// It is there.
    pub is_available: bool,
    /// Containers do not work without it.
    pub is_required: bool,
    /// What was found.
    pub detail: String,
    /// What to do when it is missing; empty when it is there.
    pub remedy: String,
}

impl Feature {
    fn required(name: &str, is_available: bool, detail: impl Into<String>, remedy: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_available,
            is_required: true,
            detail: detail.into(),
            remedy: if is_available { String::new() } else { remedy.to_owned() },
        }
    }

    fn optional(name: &str, is_available: bool, detail: impl Into<String>, remedy: &str) -> Self {
        Self { is_required: false, ..Self::required(name, is_available, detail, remedy) }
    }
}

/// Examines the machine for an engine whose state is (or will be) in `state_dir`.
#[must_use]
pub fn examine(state_dir: &Path) -> Vec<Feature> {
    let mut features = kernel::features();
    features.extend(cgroups::features());
    features.extend(rights::features());
    features.extend(place::features(state_dir));
    features
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_is_explained() {
        let directory = tempfile::tempdir().unwrap();
        let features = examine(&directory.path().join("not/there/yet"));
        let names: std::collections::HashSet<&str> = features.iter().map(|feature| feature.name.as_str()).collect();
        assert_eq!(names.len(), features.len(), "names are unique");
        for feature in &features {
            assert!(!feature.detail.is_empty(), "{feature:?}");
            assert_eq!(feature.is_available, feature.remedy.is_empty(), "{feature:?}");
        }
        for name in ["overlayfs", "openat2", "seccomp filter", "pid namespaces", "free space", "memory limits"] {
            assert!(names.contains(name), "{name}");
        }
        assert!(!directory.path().join("not").exists(), "looking makes nothing");
    }
}
