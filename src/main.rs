//! The `patchcord` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    patchcord::cli::run()
}
