//! What devices tell one another by way of a service, so that they link.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::codec::{Blob, List, Opt};
use super::ids::{DeviceId, Ip, Nonce};
use super::messages::Exts;
use super::schema::wire;
use super::signed::SignedBody;
use crate::Violation;
use crate::clause::Rules;
use crate::limits::{MAX_ADDRESSES, MAX_INTRODUCTION};

wire! {
    /// Asks a service to pass an introduction on.
    pub struct Introduce {
        /// The request.
        req: u32,
        /// The device that it is for.
        to: DeviceId,
        /// The introduction, sealed for that device.
        sealed: Blob<MAX_INTRODUCTION>,
        /// Extensions.
        ext: Exts,
    }

    /// The introduction was passed on.
    pub struct IntroduceOk {
        /// The request.
        req: u32,
        /// Extensions.
        ext: Exts,
    }

    /// Passes an introduction on.
    pub struct Introduced {
        /// The device that asked for it.
        from: DeviceId,
        /// The introduction as it came.
        sealed: Blob<MAX_INTRODUCTION>,
        /// Extensions.
        ext: Exts,
    }

    /// The first frame of a stream of packets: to a service, whom they are for; of a service, whose they are. They follow it,
    /// each behind its length, without framing.
    pub struct Relay {
        /// The device at the far end.
        device: DeviceId,
        /// Extensions.
        ext: Exts,
    }

    /// Says where a device can be dialled.
    pub struct Introduction {
        /// Who signs, and can be dialled.
        from: DeviceId,
        /// Who may dial.
        to: DeviceId,
        /// Drawn anew for each introduction.
        nonce: Nonce,
        /// The nonce of the introduction that this one answers, if it answers one.
        answers: Opt<Nonce>,
        /// The addresses, the likeliest first; none of a device that takes no calls.
        addresses: List<Address, MAX_ADDRESSES>,
    }

    /// An address of the transport.
    pub struct Address {
        /// The IPv6 address, or the IPv4 address mapped to one.
        ip: Ip,
        /// The port.
        port: u16,
    }
}

impl SignedBody for Introduction {
    const NAME: &'static str = "introduction";
    const ID_CONTEXT: &'static str = "segue/1 introduction";
    const SIG_CONTEXT: &'static str = "segue/1 sig introduction";
    fn check(&self, _rules: Rules) -> Result<(), Violation> {
        Ok(())
    }
}

impl From<SocketAddr> for Address {
    fn from(at: SocketAddr) -> Address {
        let ip = match at.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Address { ip: Ip::new(ip.octets()), port: at.port() }
    }
}

impl Address {
    /// As a socket's address; none if nobody can be there: the unspecified address, broadcast, multicast, and port 0.
    pub fn to_socket(&self) -> Option<SocketAddr> {
        let ip = Ipv6Addr::from(*self.ip.as_bytes()).to_canonical();
        let nobody = ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST);
        (!nobody && self.port != 0).then_some(SocketAddr::new(ip, self.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_was_unless_nobody_can_be_there() {
        let there = ["192.0.2.7:4433", "[2001:db8::7]:4433", "127.0.0.1:9"];
        for at in there.map(|at| at.parse::<SocketAddr>().unwrap()) {
            assert_eq!(Address::from(at).to_socket(), Some(at));
        }
        let mapped: SocketAddr = "[::ffff:192.0.2.7]:4433".parse().unwrap();
        assert_eq!(Address::from(mapped).to_socket(), Some("192.0.2.7:4433".parse().unwrap()));
        let nobody = ["0.0.0.0:1", "[::]:1", "224.0.0.251:1", "255.255.255.255:1", "[ff02::fb]:1", "192.0.2.7:0"];
        for at in nobody.map(|at| at.parse::<SocketAddr>().unwrap()) {
            assert_eq!(Address::from(at).to_socket(), None, "{at}");
        }
    }
}
