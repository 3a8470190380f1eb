//! What a process holds in memory; for the tests of the command, too.

use std::fs::{File, read_to_string};
use std::os::unix::fs::FileExt;

/// What the memory of a process holds that can be written to.
pub(crate) fn memory(process: u32) -> Vec<Vec<u8>> {
    let of = |what: &str| format!("/proc/{process}/{what}");
    let (maps, memory) = (read_to_string(of("maps")).unwrap(), File::open(of("mem")).unwrap());
    let writable = maps.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|may| may.starts_with("rw")));
    let ranges = writable.filter_map(|line| line.split_whitespace().next()?.split_once('-'));
    let ranges = ranges.map(|(from, to)| [from, to].map(|at| u64::from_str_radix(at, 16).unwrap()));
    let read = |[from, to]: [u64; 2]| {
        let mut bytes = vec![0; (to - from) as usize];
        memory.read_exact_at(&mut bytes, from).is_ok().then_some(bytes)
    };
    ranges.filter_map(read).collect()
}
