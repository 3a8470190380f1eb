//! Hands a session with one file over from one device to another, both in this process:
//! `cargo run -p segue-quic --example handoff -- Cargo.toml`

use std::error::Error;
use std::path::PathBuf;

use segue_quic::{Event, Node};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "Cargo.toml".into()));

    // A real device says `.state_dir(path)` instead of `.in_memory()`: it keeps its key and its sessions there.
    let laptop = Node::builder().in_memory().open().await?;
    let phone = Node::builder().in_memory().listen("127.0.0.1:0".parse()?).trust(laptop.device()).open().await?;
    tokio::spawn(accept_everything(phone.clone()));

    // The laptop's session: whoever owns it, the phone is a member.
    let session = laptop.create_session("my notes", &[phone.device()]).await?;
    laptop.write_file(session, "notes.txt", &file).await?;
    laptop.write_view(session, "cursor at line 3").await?;

    // One tap: the phone gets what it lacks, and is the only owner when this returns.
    laptop.connect(phone.local_addr().ok_or("no address")?, phone.device()).await?;
    let receipt = laptop.initiate_handoff(session, phone.device()).await?;
    println!("handed over in {:?}, by record {}", receipt.took, receipt.record);

    let notes = phone.read_file(session, "notes.txt").await?;
    let view = phone.view(session).await?.unwrap_or_default();
    assert_eq!(notes, std::fs::read(&file)?);
    println!("the phone has {} bytes, {}", notes.len(), String::from_utf8_lossy(&view));

    phone.shutdown().await;
    laptop.shutdown().await;
    Ok(())
}

/// What the phone's application does: it would ask its user.
async fn accept_everything(phone: Node) {
    while let Some(event) = phone.next_event().await {
        match event {
            Event::HandoffRequest { token, name, from, .. } => {
                println!("device {from} offers {name:?}");
                let phone = phone.clone();
                tokio::spawn(async move { phone.accept_handoff(token).await });
            }
            Event::Progress { done, total, .. } => println!("{done} of {total} bytes"),
            Event::Activated { .. } => println!("the phone is the owner"),
            _ => {}
        }
    }
}
