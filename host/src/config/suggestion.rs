//! The known name that a misspelled one was probably meant to be.

/// Least similarity of two names (Jaro-Winkler, 0 to 1) for one to be suggested for the other.
const LIKE: f64 = 0.8;

/// The known name that is most similar to `name`; `None` if none is similar.
pub(crate) fn closest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let known = known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(candidate, name), candidate));
    known
        .filter(|(likeness, _)| *likeness > LIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
