//! Writes the seed corpus: `cargo run -p segue-fuzz --example seeds [DIR]`, by default into `fuzz/corpus`.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let root = std::env::args().nth(1).map_or(default, PathBuf::from);
    for target in segue_fuzz::TARGETS {
        let folder = root.join(target.name);
        std::fs::create_dir_all(&folder)?;
        let seeds = segue_fuzz::seeds::of(target.name);
        println!("{}: {} seeds", target.name, seeds.len());
        for (name, seed) in seeds {
            std::fs::write(folder.join(name), seed)?;
        }
    }
    Ok(())
}
