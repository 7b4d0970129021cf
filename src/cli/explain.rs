//! `patchcord explain`: what would become of a call, rule by rule.

use std::{path::Path, process::ExitCode, sync::Arc, time::Instant};

use super::{EXIT_RUNTIME, EXIT_USAGE, check, say};
use crate::{
    actors,
    routing::{Explainer, Question, Room},
};

/// Explains by the configuration alone: of a gateway that is empty.
pub fn run(path: Option<&Path>, question: &Question) -> ExitCode {
    let Some(config) = check::load_or_explain(path) else {
        return ExitCode::from(EXIT_USAGE);
    };
    let config = Arc::new(config);
    let room = Room::new(&config);
    let peers = actors::peers(&config);
    let explanation = Explainer::new(config, peers).explain(question, &room, Instant::now());
    explanation.lines.iter().for_each(|line| say(line));
    match explanation.verdict.agent {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::from(EXIT_RUNTIME),
    }
}
