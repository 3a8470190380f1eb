//! Runs one input, to look at what it does: `cargo run -p segue-fuzz --example run -- TARGET FILE`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(name), Some(file)) = (args.next(), args.next()) else { return Err("say a target and a file".into()) };
    let target = segue_fuzz::TARGETS.iter().find(|target| target.name == name).ok_or("no such target")?;
    (target.run)(&std::fs::read(file)?);
    println!("{name}: nothing wrong");
    Ok(())
}
