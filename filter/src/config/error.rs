//! What is wrong with a configuration file, said so that its author can put it right in one go.

use std::cell::{Cell, RefCell};
use std::fmt;

/// Most problems of one file that are kept; the rest is only counted. More than anyone reads at once.
pub const MAX_PROBLEMS: usize = 100;

/// One thing that is wrong with a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: `quotas[2].per`, `the file`, or `line 3, column 7` if the file cannot be read as JSON.
    pub path: String,
    /// What stands there.
    pub found: String,
    /// What may stand there.
    pub allowed: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}, allowed: {}", self.path, self.found, self.allowed)
    }
}

/// Everything that is wrong with a configuration file, in the order of the file; one line each when displayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    problems: Vec<Problem>,
    more_count: usize,
}

impl ConfigErrors {
    /// The first [`MAX_PROBLEMS`] problems that were met.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many problems there are beyond [`Self::problems`].
    #[must_use]
    pub const fn more_count(&self) -> usize {
        self.more_count
    }
}

impl From<Problem> for ConfigErrors {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem], more_count: 0 }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{problem}")?;
        }
        if self.more_count > 0 {
            write!(f, "\nand {} more", self.more_count)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The problems met so far in a file that is being read.
///
/// Shared by all values of the file, so that reading goes on behind a problem.
#[derive(Default)]
pub(super) struct Problems {
    kept: RefCell<Vec<(usize, Problem)>>,
    more_count: Cell<usize>,
}

impl Problems {
    /// Notes a problem of the value that is the `order`th of the file.
    pub(super) fn note(&self, order: usize, problem: Problem) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() < MAX_PROBLEMS {
            kept.push((order, problem));
        } else {
            self.more_count.set(self.more_count.get() + 1);
        }
    }

    /// All problems in the order of the file.
    pub(super) fn into_errors(self) -> ConfigErrors {
        let mut kept = self.kept.into_inner();
        kept.sort_by_key(|(order, _)| *order);
        let problems = kept.into_iter().map(|(_, problem)| problem).collect();
        ConfigErrors { problems, more_count: self.more_count.into_inner() }
    }
}
