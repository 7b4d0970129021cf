//! The valid name a person probably meant.

/// Longer names are not compared: the comparison is quadratic, and nobody mistypes a name this long.
const NAME_CHARS_MAX: usize = 64;

/// A shorter part of a name could be a part of any.
const PART_CHARS_MIN: usize = 4;

/// Names listed when none is near; the rest are left out.
const LISTED_MAX: usize = 48;

/// What to do about a name that is not one of these: the nearest, or all there are.
pub(super) fn suggestion<'a>(name: &str, valid: impl IntoIterator<Item = &'a str>) -> String {
    let valid: Vec<&str> = valid.into_iter().collect();
    match (nearest(name, &valid), valid.as_slice()) {
        (Some(near), _) => format!("did you mean \"{near}\"?"),
        (None, []) => "there are none".to_owned(),
        (None, [only]) => format!("there is only \"{only}\""),
        (None, valid) => format!("there are {}", listed(valid)),
    }
}

/// The nearest of these names, unless all are too far off to have been meant.
fn nearest<'a>(name: &str, valid: &[&'a str]) -> Option<&'a str> {
    let lower: String = name.to_lowercase().chars().take(NAME_CHARS_MAX + 1).collect();
    let letters: Vec<char> = lower.chars().collect();
    if letters.len() > NAME_CHARS_MAX {
        return None;
    }
    let measured = valid.iter().map(|valid| (distance(&letters, valid), *valid));
    let (distance, near) = measured.min_by_key(|(distance, _)| *distance)?;
    let bearable = letters.len().max(near.chars().count()).div_ceil(3);
    let is_part = |valid: &&&str| letters.len() >= PART_CHARS_MIN && valid.contains(&lower);
    if distance <= bearable {
        Some(near)
    } else {
        valid.iter().find(is_part).copied()
    }
}

/// Letters added, left out, changed or swapped with their neighbour.
fn distance(name: &[char], valid: &str) -> usize {
    let valid: Vec<char> = valid.chars().take(NAME_CHARS_MAX).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=valid.len()).collect();
    for (row, letter) in name.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in valid.iter().enumerate() {
            let changed = last[column] + usize::from(letter != other);
            let mut least = changed.min(last[column + 1] + 1).min(current[column] + 1);
            let swapped = row > 0 && column > 0 && *letter == valid[column - 1] && name[row - 1] == *other;
            if swapped {
                least = least.min(before[column - 1] + 1);
            }
            current.push(least);
        }
        before = std::mem::replace(&mut last, current);
    }
    last[valid.len()]
}

fn listed(valid: &[&str]) -> String {
    let mut names: Vec<String> = valid
        .iter()
        .take(LISTED_MAX)
        .map(|name| format!("\"{name}\""))
        .collect();
    if valid.len() > LISTED_MAX {
        return format!("{} and {} more", names.join(", "), valid.len() - LISTED_MAX);
    }
    match names.pop() {
        Some(last) if !names.is_empty() => format!("{} and {last}", names.join(", ")),
        last => last.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_through_typing_mistakes() {
        let valid = ["listen", "external_ip"];
        for name in ["lisen", "listten", "lsiten", "LISTEN", "lister"] {
            assert_eq!(suggestion(name, valid), "did you mean \"listen\"?", "{name}");
        }
    }

    #[test]
    fn a_part_of_a_name_stands_for_it() {
        let valid = ["call_duration_s_max", "calls_max"];
        assert_eq!(suggestion("calls", valid), "did you mean \"calls_max\"?");
        assert_eq!(suggestion("duration", valid), "did you mean \"call_duration_s_max\"?");
        assert_eq!(suggestion("max", ["session_max"]), "there is only \"session_max\"");
    }

    #[test]
    fn far_off_names_get_the_whole_list() {
        assert_eq!(suggestion("zzzz", ["a", "b", "c"]), "there are \"a\", \"b\" and \"c\"");
        assert_eq!(suggestion("zzzz", ["alpha"]), "there is only \"alpha\"");
        assert_eq!(suggestion("zzzz", []), "there are none");
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..LISTED_MAX + 4).map(|number| format!("name{number}")).collect();
        let text = suggestion("zzzzzz", names.iter().map(String::as_str));
        assert!(text.ends_with("\"name47\" and 4 more"), "{text}");
    }

    #[test]
    fn absurdly_long_names_are_not_compared() {
        assert_eq!(suggestion(&"x".repeat(1 << 20), ["xx"]), "there is only \"xx\"");
    }
}
