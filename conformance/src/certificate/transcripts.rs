//! What was said in a run, as text, compressed: `transcripts.gz`.
//!
//! Each piece of the run is a member of the gzip file. In it a line `# NAME` opens the piece, a line `@` each host in
//! it, and then requests (`> `) and answers (`< `) alternate; `! ` tells, as a JSON string, why there was no answer.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::attach::Exchange;

/// What was said in a piece of a run, a list for each host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transcript {
    /// The piece's name.
    pub(super) name: String,
    /// What was said with each host; none if the piece wasn't played.
    pub(super) hosts: Vec<Vec<Exchange>>,
}

/// A member of the file, and the length of what it holds.
pub(super) fn pack(name: &str, hosts: &[Vec<Exchange>]) -> (Vec<u8>, u64) {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::new(LEVEL));
    let mut text = 0;
    // A vector takes whatever is written to it.
    let mut put = |line: &str| {
        text += line.len() as u64;
        drop(gzip.write_all(line.as_bytes()));
    };
    put(&format!("# {name}\n"));
    for host in hosts {
        put("@\n");
        for exchange in host {
            put(&format!("> {}\n", exchange.request));
            match &exchange.answer {
                Ok(answer) => put(&format!("< {answer}\n")),
                Err(why) => put(&format!("! {}\n", serde_json::Value::from(why.as_str()))),
            }
        }
    }
    (gzip.finish().unwrap_or_default(), text)
}

/// Reads a member whose text has this length.
pub(super) fn unpack(member: &[u8], length: u64) -> Result<Transcript, String> {
    let mut text = Vec::new();
    let read = GzDecoder::new(member).take(length.saturating_add(1)).read_to_end(&mut text);
    read.map_err(|error| format!("it can't be decompressed: {error}"))?;
    if text.len() as u64 != length {
        return Err(format!("it should hold {length} bytes of text, and holds {}", text.len()));
    }
    let text = String::from_utf8(text).map_err(|_| "it holds what is no text".to_string())?;
    parse(&text)
}

fn parse(text: &str) -> Result<Transcript, String> {
    let malformed = |at: usize| format!("line {} isn't of the form of a transcript", at + 1);
    let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n').enumerate();
    let name = lines.next().and_then(|(_, line)| line.strip_prefix("# ")).ok_or_else(|| malformed(0))?;
    let mut transcript = Transcript { name: name.into(), hosts: Vec::new() };
    while let Some((at, line)) = lines.next() {
        if line == "@" {
            transcript.hosts.push(Vec::new());
            continue;
        }
        let request = line.strip_prefix("> ").ok_or_else(|| malformed(at))?;
        let (at, answer) = lines.next().ok_or_else(|| malformed(at))?;
        let answer = match (answer.strip_prefix("< "), answer.strip_prefix("! ")) {
            (Some(answer), _) => Ok(answer.to_string()),
            (None, Some(why)) => Err(serde_json::from_str(why).map_err(|_| malformed(at))?),
            (None, None) => return Err(malformed(at)),
        };
        let host = transcript.hosts.last_mut().ok_or_else(|| malformed(at))?;
        host.push(Exchange { request: request.into(), answer });
    }
    Ok(transcript)
}

/// How hard it is compressed: most of what is there to gain, in a third of the time of the highest level.
const LEVEL: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(request: &str, answer: Result<&str, &str>) -> Exchange {
        let answer = answer.map(Into::into).map_err(Into::into);
        Exchange { request: request.into(), answer }
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let source = vec![exchange("{}", Ok("{\"a\":1}")), exchange("x", Err("it\nended")), exchange("", Ok(""))];
        for hosts in [vec![], vec![source.clone()], vec![source, vec![]]] {
            let (member, length) = pack("pairs/1.4-to-2/push", &hosts);
            let expected = Transcript { name: "pairs/1.4-to-2/push".into(), hosts };
            assert_eq!(unpack(&member, length), Ok(expected));
            assert!(unpack(&member, length - 1).is_err() && unpack(&member, length + 1).is_err());
        }
    }

    #[test]
    fn what_is_no_transcript_is_refused() {
        for text in ["", "# a\n> x", "# a\n> x\n< y", "# a\n@\n< y\n> x", "# a\n@\n> x\n! y\n", "a\n@\n"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
