//! A process of a benchmark as its parent sees it.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{self, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde::{Serialize, de::DeserializeOwned};

use super::plan::Task;

/// The hidden subcommand that is a process of a benchmark.
pub const SUBCOMMAND: &str = "bench-process";

/// How long a process may take to end once its input has.
const END_MAX: Duration = Duration::from_secs(3);

/// One process; it is ended when this is dropped.
pub struct Child {
    process: process::Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Starts this program once more, with a task.
    pub fn start(task: &Task, errors: Stdio) -> anyhow::Result<Self> {
        Self::start_in(task, errors, &[])
    }

    /// The same with these variables in its environment.
    pub fn start_in(task: &Task, errors: Stdio, variables: &[(&str, &Path)]) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(SUBCOMMAND)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .context("a process of the benchmark does not start")?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let mut child = Self {
            process,
            input,
            output: BufReader::new(output.context("no pipe")?),
        };
        child.tell(task)?;
        Ok(child)
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Writes a line.
    pub fn tell(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_string(value)?;
        line.push('\n');
        let input = self.input.as_mut().context("no pipe")?;
        input
            .write_all(line.as_bytes())
            .context("a process of the benchmark is gone")
    }

    /// Reads an answer.
    pub fn hear<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        Ok(serde_json::from_str(&self.line_with("")?)?)
    }

    /// Asks and waits for the answer.
    pub fn ask<T: DeserializeOwned>(&mut self, value: &impl Serialize) -> anyhow::Result<T> {
        self.tell(value)?;
        self.hear()
    }

    /// Reads on until a line that holds this.
    pub fn line_with(&mut self, what: &str) -> anyhow::Result<String> {
        let mut line = String::new();
        while self.output.read_line(&mut line)? > 0 {
            if line.contains(what) {
                return Ok(line);
            }
            line.clear();
        }
        anyhow::bail!("a process of the benchmark ended")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.input.take());
        let until = Instant::now() + END_MAX;
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        // It has ended by itself but for something that hangs.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
