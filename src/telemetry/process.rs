//! The figures of this process, read from Linux `/proc/self`.
//!
//! On other systems, or without `/proc`, there are none; the metrics then stay at zero.

use std::fs;

/// Clock ticks per second in `/proc/*/stat`: `USER_HZ`, 100 on every Linux architecture we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// One reading.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Process {
    pub(super) cpu_seconds: f64,
    pub(super) resident_memory_bytes: u64,
    pub(super) virtual_memory_bytes: u64,
    pub(super) open_fds: usize,
    pub(super) max_fds: u64,
    pub(super) threads: u64,
    pub(super) start_time_seconds: f64,
}

impl Process {
    /// Reads the figures of this process.
    pub(super) fn read() -> Option<Self> {
        let text = |path| fs::read_to_string(path).ok();
        let mut process = Self::parse(
            &text("/proc/self/stat")?,
            &text("/proc/self/status")?,
            &text("/proc/self/limits")?,
            &text("/proc/stat")?,
        )?;
        // The handle that lists the directory is itself an entry of it.
        process.open_fds = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
        Some(process)
    }

    fn parse(stat: &str, status: &str, limits: &str, machine: &str) -> Option<Self> {
        // proc(5): the command name, field 2, may hold spaces and brackets, so count from behind it; field 3 is first.
        let (_, fields) = stat.rsplit_once(')')?;
        let field = |number: usize| fields.split_whitespace().nth(number - 3)?.parse::<u64>().ok();
        let seconds = |ticks: u64| ticks as f64 / TICKS_PER_SECOND;
        let booted = value_after(machine, "btime")?;
        Some(Self {
            cpu_seconds: seconds(field(14)?.saturating_add(field(15)?)),
            resident_memory_bytes: value_after(status, "VmRSS:")?.saturating_mul(1024),
            virtual_memory_bytes: field(23)?,
            open_fds: 0,
            max_fds: value_after(limits, "Max open files").unwrap_or(u64::MAX),
            threads: field(20)?,
            start_time_seconds: booted as f64 + seconds(field(22)?),
        })
    }
}

/// The number that follows this word at the beginning of a line.
fn value_after(text: &str, word: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(word)?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 900 0 0 0 150 50 0 0 20 0 4 0 1000 8192000 500 184 1 1 0";
        let process = Process::parse(stat, STATUS, LIMITS, MACHINE).unwrap();
        assert_eq!(process.cpu_seconds, 2.0);
        assert_eq!(process.threads, 4);
        assert_eq!(process.virtual_memory_bytes, 8_192_000);
        assert_eq!(process.start_time_seconds, 1_700_000_010.0);
        assert_eq!(process.resident_memory_bytes, 2_048_000);
        assert_eq!(process.max_fds, 1024);
    }

    #[test]
    fn text_that_is_not_what_the_kernel_writes_gives_no_figures() {
        for stat in ["", "1 (a", "1 (a) S", "1 (a) S x y z"] {
            assert_eq!(Process::parse(stat, STATUS, LIMITS, MACHINE), None);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_threads_and_open_files() {
        let process = Process::read().unwrap();
        assert!(process.resident_memory_bytes > 100_000 && process.threads >= 1 && process.open_fds >= 1);
    }

    const STATUS: &str = "Name:\ta\nVmPeak:\t  9000 kB\nVmRSS:\t    2000 kB\n";
    const LIMITS: &str =
        "Limit   Soft Limit  Hard Limit  Units\nMax open files            1024       4096      files\n";
    const MACHINE: &str = "cpu  1 2 3\nbtime 1700000000\n";
}
