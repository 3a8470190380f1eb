//! Measures a handoff of much data over loopback, in one process: where the values in `transport.rs` come from.
//! `cargo run --release -p segue-quic --example windows -- [memory|disk] [files] [bytes per file]`

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use segue_quic::bare::{self, Windows};
use segue_quic::{Event, Node};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let disk = args.next().is_some_and(|word| word == "disk");
    let count: usize = args.next().map_or(Ok(1_000), |n| n.parse())?;
    let len: usize = args.next().map_or(Ok(200_000), |n| n.parse())?;
    let dir = std::env::temp_dir().join(format!("segue-windows-{}", std::process::id()));
    for round in 0..3 {
        for stream in [256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20, 16 << 20] {
            let windows = Windows { stream, link: 3 * stream, send: 2 * stream };
            let speed = (count * len) as f64 / bare(count * len, windows).await? / 1e6;
            println!("round {round}: bare quinn, window of a stream {:6} KiB: {speed:5.0} MB/s", stream >> 10);
        }
    }
    let files = content(&dir.join("content"), count, len)?;
    for round in 0..3 {
        let total = (count * len) as f64;
        let state = |name: &str| disk.then(|| dir.join(format!("{name}-{round}")));
        let bare = bare(count * len, Windows::NODE).await?;
        let (hashed, moved) = run(&files, state("source"), state("target")).await?;
        let speed = |seconds: f64| total / seconds / 1e6;
        println!(
            "bare quinn {:5.0} MB/s   hashed {:5.0} MB/s   moved {:5.0} MB/s, {:.2} of bare",
            speed(bare),
            speed(hashed),
            speed(moved),
            bare / moved
        );
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// Seconds to take the files into a session, and to hand it over.
async fn run(files: &[(String, PathBuf)], source: Option<PathBuf>, target: Option<PathBuf>) -> Result<(f64, f64)> {
    let open = |state: Option<PathBuf>| match state {
        Some(dir) => Node::builder().witness(dir.with_extension("witness")).state_dir(dir),
        None => Node::builder().in_memory(),
    };
    let laptop = open(source).open().await?;
    let phone = open(target).listen("127.0.0.1:0".parse()?).trust(laptop.device()).open().await?;
    let accepting = phone.clone();
    tokio::spawn(async move {
        while let Some(event) = accepting.next_event().await {
            if let Event::HandoffRequest { token, .. } = event {
                let phone = accepting.clone();
                tokio::spawn(async move { phone.accept_handoff(token).await });
            }
        }
    });
    let session = laptop.create_session("files", &[phone.device()]).await?;
    let start = Instant::now();
    laptop.write_files(session, files.to_vec()).await?;
    let hashed = start.elapsed().as_secs_f64();
    laptop.connect(phone.local_addr().ok_or("no address")?, phone.device()).await?;
    laptop.linked(phone.device()).await?;
    let receipt = laptop.initiate_handoff(session, phone.device()).await?;
    tokio::join!(laptop.shutdown(), phone.shutdown());
    Ok((hashed, receipt.took.as_secs_f64()))
}

/// Seconds to move so many bytes over one stream of bare quinn with a node's settings otherwise, from memory to nowhere.
async fn bare(total: usize, windows: Windows) -> Result<f64> {
    let server = bare::endpoint(Some("127.0.0.1:0".parse()?), windows)?;
    let client = bare::endpoint(None, windows)?;
    let connecting = bare::connect(&client, server.local_addr()?)?;
    let incoming = server.accept().await.ok_or("closed")?;
    let (sender, receiver) = tokio::try_join!(connecting, incoming)?;
    bare::admit(&receiver, windows);
    bare::admit(&sender, windows);
    let piece = bytes::Bytes::from(vec![7; 256 << 10]);
    let start = Instant::now();
    let sending = tokio::spawn(async move {
        let mut stream = sender.open_uni().await?;
        for _ in 0..total.div_ceil(piece.len()) {
            stream.write_chunk(piece.clone()).await?;
        }
        stream.finish()?;
        stream.stopped().await?;
        Ok::<_, Box<dyn Error + Send + Sync>>(sender)
    });
    let mut stream = receiver.accept_uni().await?;
    let mut buffer = vec![0; 256 << 10];
    while stream.read(&mut buffer).await?.is_some() {}
    let took = start.elapsed().as_secs_f64();
    sending.await?.map_err(|error| error.to_string())?;
    Ok(took)
}

/// Files that don't compress and of which no two are alike.
fn content(dir: &std::path::Path, count: usize, len: usize) -> Result<Vec<(String, PathBuf)>> {
    std::fs::create_dir_all(dir)?;
    let mut n = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = || {
        n ^= n << 13;
        n ^= n >> 7;
        n ^= n << 17;
        n.to_le_bytes()
    };
    let file = |at: usize| -> Result<(String, PathBuf)> {
        let path = dir.join(format!("{at:05}"));
        let bytes: Vec<u8> = std::iter::repeat_with(&mut random).flatten().take(len).collect();
        std::fs::write(&path, bytes)?;
        Ok((format!("{:02}/{at:05}", at % 100), path))
    };
    (0..count).map(file).collect()
}
