//! Which CPUs the kernel has room for: the shape of every per-CPU map value.
//!
//! bpf(2) moves one value per *possible* CPU, in ascending order and without gaps: with possible
//! CPUs `0-1,4` the third value is that of CPU 4. The list is fixed when the kernel boots.

use std::{fs, io};

use crate::Error;

const POSSIBLE: &str = "/sys/devices/system/cpu/possible";
/// Above the largest `NR_CPUS` of any architecture: a bigger number is not a CPU.
const CPU_LIMIT: u32 = 1 << 16;

/// Lists the possible CPUs in ascending order: the CPU of each per-CPU value, by position.
///
/// # Errors
/// If `/sys/devices/system/cpu/possible` cannot be read or is no CPU list.
pub fn possible_cpus() -> Result<Vec<u32>, Error> {
    read_possible().map_err(|e| Error::new("list possible cpus", "", e))
}

/// As [`possible_cpus`]; the error names the file.
pub(crate) fn read_possible() -> io::Result<Vec<u32>> {
    let text = fs::read_to_string(POSSIBLE)
        .map_err(|e| io::Error::new(e.kind(), format!("read {POSSIBLE}: {e}")))?;
    parse(text.trim()).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{POSSIBLE}: no cpu list: {text:?}"))
    })
}

/// Parses a kernel CPU list such as `0-1,4`; `None` unless it is non-empty and ascending.
fn parse(list: &str) -> Option<Vec<u32>> {
    let mut cpus: Vec<u32> = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        let ascends = cpus.last().is_none_or(|&previous| previous < first) && first <= last;
        if !ascends || last >= CPU_LIMIT {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_parsed_with_their_gaps() {
        assert_eq!(parse("0"), Some(vec![0]));
        assert_eq!(parse("0-1,4"), Some(vec![0, 1, 4]));
        assert_eq!(parse("0,2-3,7-7"), Some(vec![0, 2, 3, 7]));
        for bad in ["", "a", "1-", "-1", "3-1", "0-1,1", "0,,2", "0-4294967295", "5000000000"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn this_machine_has_at_least_the_cpus_that_run() {
        let running = std::thread::available_parallelism().unwrap().get();
        assert!(possible_cpus().unwrap().len() >= running);
    }
}
