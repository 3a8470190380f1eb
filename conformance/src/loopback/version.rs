//! Packets with a long header as they are on the wire (RFC 9000, section 17.2), sent and read without QUIC: which version
//! somebody names, and what becomes of another.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use segue_proto::wire::DeviceId;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::Loopback;
use super::tls::from;
use crate::lab::Done;
use crate::verdict::Fault;

/// What a first packet is padded to (RFC 9000, section 14.1).
const FIRST: usize = 1_200;
/// More than a packet has.
const LONGEST: usize = 2_048;
/// How long an answer is waited for before the packet is sent once more: it may be lost, or the subject bound how many it
/// answers.
const AGAIN: Duration = Duration::from_secs(1);
/// The length of the connection ids that the suite names.
const ID: usize = 8;

/// The version that a packet with a long header names; 0 is a Version Negotiation packet.
fn version(packet: &[u8]) -> Option<u32> {
    let (first, rest) = packet.split_first()?;
    (first & 0x80 != 0).then_some(())?;
    Some(u32::from_be_bytes(*rest.first_chunk()?))
}

/// A version that no implementation speaks: clients name it to see what happens (RFC 9000, section 15).
pub fn is_reserved(version: u32) -> bool {
    version & 0x0f0f_0f0f == 0x0a0a_0a0a
}

/// The connection id that a Version Negotiation packet answers, and the versions in it.
fn negotiation(packet: &[u8]) -> Option<(&[u8], Vec<u32>)> {
    (version(packet)? == 0).then_some(())?;
    let (answers, rest) = sized(packet.get(5..)?)?;
    let (_, rest) = sized(rest)?;
    let versions = rest.chunks_exact(4).map(|it| u32::from_be_bytes([it[0], it[1], it[2], it[3]]));
    Some((answers, versions.collect()))
}

/// Bytes behind their length.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*len))
}

/// A first packet of this version. Its content is of no version: who speaks it drops it.
fn first(version: u32, to: [u8; ID], from: [u8; ID]) -> Vec<u8> {
    let mut packet = vec![0xc0];
    packet.extend(version.to_be_bytes());
    for id in [to, from] {
        packet.push(ID as u8);
        packet.extend(id);
    }
    packet.resize(FIRST, 0);
    packet
}

impl Loopback<'_> {
    /// Sends a first packet of this version, again each second, until it is answered: which versions the subject names.
    ///
    /// # Errors
    /// If it isn't answered.
    pub fn names(&mut self, version: u32) -> Done<Vec<u32>> {
        let addr = self.addr.ok_or_else(|| Fault::fail("a subject that listens", "it isn't started"))?;
        let socket = self.socket(addr)?;
        let (to, from): ([u8; ID], [u8; ID]) = (self.rng.array(), self.rng.array());
        let packet = first(version, to, from);
        let asked = async {
            let mut buffer = vec![0; LONGEST];
            loop {
                socket.send_to(&packet, addr).await?;
                while let Ok(came) = timeout(AGAIN, socket.recv(&mut buffer)).await {
                    let came = negotiation(&buffer[..came?]);
                    if let Some((_, listed)) = came.filter(|(answers, _)| *answers == from) {
                        return Ok::<_, std::io::Error>(listed);
                    }
                }
            }
        };
        self.rig.note(format!("suite → a first packet of version {version:#010x}"));
        let listed = self.rig.wait(&format!("a Version Negotiation packet for version {version:#010x}"), asked)?;
        let listed = listed.map_err(|error| Fault::unheard("a packet that goes out", error.to_string()))?;
        self.rig.note(format!("subject → Version Negotiation: {listed:x?}"));
        Ok(listed)
    }

    /// The subject's application dials `device` where nobody speaks QUIC: the version that its first packet names.
    ///
    /// # Errors
    /// If it sends none.
    pub fn offers_version(&mut self, device: DeviceId) -> Done<Option<u32>> {
        let socket = self.socket((Ipv4Addr::LOCALHOST, 0).into())?;
        let addr = socket.local_addr().map_err(|error| Fault::unheard("a socket", error.to_string()))?;
        self.rig.note("the subject's application dials the suite");
        self.node()?.dial(device, addr).map_err(|refusal| Fault::fail("a call", refusal.text))?;
        let packet = self.packet(&socket, "a first packet of the subject")?;
        let named = version(&packet);
        self.rig.note(format!("subject → a packet of version {named:x?}"));
        Ok(named)
    }

    /// A socket that reaches this address.
    fn socket(&self, to: SocketAddr) -> Done<UdpSocket> {
        let bound = self.rig.wait("a socket", UdpSocket::bind(from(to)))?;
        bound.map_err(|error| Fault::unheard("a socket", error.to_string()))
    }

    fn packet(&self, socket: &UdpSocket, what: &str) -> Done<Vec<u8>> {
        let mut buffer = vec![0; LONGEST];
        let (len, _) = self
            .rig
            .wait(what, socket.recv_from(&mut buffer))?
            .map_err(|error| Fault::unheard(what, error.to_string()))?;
        buffer.truncate(len);
        Ok(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_long_headers() {
        assert_eq!(version(&first(0x6b33_43cf, [1; ID], [2; ID])), Some(0x6b33_43cf));
        assert_eq!(version(&[0x40, 0, 0, 0, 1]), None, "a short header names none");
        assert_eq!(version(&[0xc0, 0, 0]), None, "one that is cut off");
        let packet = [0x80, 0, 0, 0, 0, 1, 7, 2, 8, 9, 0, 0, 0, 1, 0x1a, 0x2a, 0x3a, 0x4a];
        assert_eq!(negotiation(&packet), Some((&[7][..], vec![1, 0x1a2a_3a4a])));
        assert_eq!(negotiation(&packet[..8]), None);
        assert!(is_reserved(0x1a2a_3a4a) && !is_reserved(1));
    }
}
