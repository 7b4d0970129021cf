//! How trunks, agents and backends may be called.

/// Characters of a name. Names are label values and parts of variables; longer ones are refused.
const NAME_CHARS_MAX: usize = 64;

/// What is wrong with a name, if anything.
///
/// Lower case, so that `PATCHCORD__AGENTS__NAME__KEY` can say every name; no two underscores in a row, because those
/// separate names there.
pub(super) fn fault(name: &str) -> Option<String> {
    let sound = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '-' | '_');
    let good = name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && name.chars().all(sound)
        && name.len() <= NAME_CHARS_MAX
        && !name.contains("__")
        && !name.ends_with('_');
    (!good).then(|| {
        format!(
            "is not a good name: use 1 to {NAME_CHARS_MAX} of a-z, 0-9, \"-\" and single \"_\" inside, beginning with \
             a letter or digit"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_pass() {
        for name in ["lan", "sales-de", "agent_2", "9", &"x".repeat(64)] {
            assert_eq!(fault(name), None, "{name}");
        }
    }

    #[test]
    fn names_that_variables_or_labels_could_not_say_do_not_pass() {
        for name in ["", "Lan", "a.b", "a b", "a__b", "a_", "_a", "-a", "é", &"x".repeat(65)] {
            assert!(fault(name).is_some(), "{name}");
        }
    }
}
