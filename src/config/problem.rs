//! What is wrong with a configuration.

use std::fmt;

use super::{
    bounds::PROBLEMS_MAX,
    place::{Path, Place, Places},
};

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// What is wrong and what to do.
    pub text: String,
}

/// Everything that is wrong, in the order of the file, then by variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// What is told.
    pub told: Vec<Problem>,
    /// How many more there are than are told.
    pub more: usize,
}

/// Problems in the making.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Where everything stands.
    pub(super) places: Places,
    problems: Vec<Problem>,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.text)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.told.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(out, "{line_break}{problem}")?;
        }
        if self.more > 0 {
            write!(out, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl Report {
    pub(super) fn new(places: Places) -> Self {
        Self {
            places,
            problems: Vec::new(),
        }
    }

    /// Something is wrong with this value.
    pub(super) fn value(&mut self, path: &Path, text: impl Into<String>) {
        let place = self.places.of_value(path);
        self.at(place, text);
    }

    /// Something is wrong with this key, whatever its value.
    pub(super) fn key(&mut self, path: &Path, text: impl Into<String>) {
        let place = self.places.of_key(path);
        self.at(place, text);
    }

    /// Something is wrong here.
    pub(super) fn at(&mut self, place: Place, text: impl Into<String>) {
        self.problems.push(Problem {
            place,
            text: text.into(),
        });
    }

    pub(super) fn into_result<T>(self, good: T) -> Result<T, Problems> {
        if self.problems.is_empty() {
            Ok(good)
        } else {
            Err(self.into_problems())
        }
    }

    pub(super) fn into_problems(self) -> Problems {
        let mut told = self.problems;
        told.sort();
        told.dedup();
        let more = told.len().saturating_sub(PROBLEMS_MAX);
        told.truncate(PROBLEMS_MAX);
        Problems { told, more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_sorted_by_place_with_the_file_first() {
        let mut report = Report::new(Places::new("f", "a\nb\n"));
        report.at(Place::Variable("A".to_owned()), "third");
        report.at(report.places.at(2), "second");
        report.at(report.places.at(0), "first");
        let text = report.into_problems().to_string();
        assert_eq!(text, "f:1:1: first\nf:2:1: second\nA: third");
    }

    #[test]
    fn of_very_many_problems_only_the_number_is_told() {
        let mut report = Report::new(Places::new("f", ""));
        (0..PROBLEMS_MAX + 5).for_each(|number| report.at(Place::Variable(format!("{number:05}")), "bad"));
        let problems = report.into_problems();
        assert_eq!((problems.told.len(), problems.more), (PROBLEMS_MAX, 5));
        assert!(problems.to_string().ends_with("\nand 5 more"));
    }
}
