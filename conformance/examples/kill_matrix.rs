//! Writes the kill matrix: `cargo run --release -p segue-conformance --example kill_matrix -- DIR`.
//!
//! It plays every case against every mutant, which takes minutes. Ends with 1 if a mutant survives the case that is meant for it.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use segue_conformance::mutants::TABLE;
use segue_conformance::report::{kills, write};

fn main() -> ExitCode {
    let Some(directory) = std::env::args().nth(1) else {
        eprintln!("usage: kill_matrix DIR");
        return ExitCode::from(2);
    };
    let rows = kills::matrix(&|done| {
        eprint!("\r{done} of {}", TABLE.len());
        let _ = std::io::stderr().flush();
    });
    eprintln!();
    for row in rows.iter().filter(|row| !row.intended) {
        println!("{} survives {}", row.mutant.clause, row.mutant.case);
    }
    let killed = rows.iter().filter(|row| row.intended).count();
    println!("{killed} of {} mutants are killed by the case meant for them", rows.len());
    if let Err(why) = write(Path::new(&directory), &kills::files(&rows)) {
        eprintln!("{why}");
        return ExitCode::from(2);
    }
    if killed == rows.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
