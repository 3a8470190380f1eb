//! Linking where something stands in its way.

use std::net::UdpSocket;

use crate::util::*;

#[test]
fn of_several_addresses_in_an_invitation_the_right_one_is_found() {
    let lab = Lab::new();
    // Another device answers at the first, and nobody at the second; the third is the phone's.
    let other = lab.receive("other", "--into out");
    let deaf_socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let deaf = deaf_socket.local_addr().unwrap();
    let places = format!("--address {} --address {deaf} --address {free}", other.addr);
    let mut new = lab.start(&format!("link --state phone --listen {free} {places} --yes"));
    let text = new.until("SEGUE:");
    lab.run(&format!("link --state laptop --paste {text} --yes")).exits(0).says("linked with");
    new.end().exits(0);
}
