//! What a call costs the whole process: `patchcord bench`, a short one.

use std::process::Command;

/// Prints the tables.
pub fn print() {
    println!("\nThe system calls of a frame, without a gateway");
    run(&["--floor"]);
    println!("\nWhole process, callers and backend in other processes");
    run(&["--calls", "1,100", "--seconds", "8"]);
    println!("\nThe same without transcoding");
    run(&["--calls", "100", "--seconds", "8", "--audio", "g711"]);
    println!("\nWhat callers notice when backends die, sessions are renewed and somebody cuts in");
    run(&["survival", "--samples", "20"]);
}

fn run(arguments: &[&str]) {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_patchcord"));
    let status = bench.arg("bench").args(arguments).status().expect("the program runs");
    assert!(status.success(), "patchcord bench {arguments:?} fails");
}
