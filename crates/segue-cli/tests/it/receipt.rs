//! Receipts from the command line: given by either side, verified by anybody, and not to be changed.

use crate::util::*;

#[test]
fn a_receipt_is_given_and_verified_and_a_changed_one_is_not() {
    let lab = Lab::new();
    let (_, b) = (lab.id("a"), lab.id("b"));
    lab.tree("notes", 2, 1_000);
    lab.run("owner --state a --receipt receipt").exits(1).says("no session");
    let receiver = lab.receive("b", "--into out --yes --once");
    lab.run(&format!("send --state a notes --to {} --device {b}", receiver.addr)).exits(0);
    receiver.end().exits(0);
    for giver in ["a", "b"] {
        lab.run(&format!("owner --state {giver} --receipt receipt-{giver}")).exits(0).says("moved").says("blob");
        // Whoever has the file needs neither device.
        lab.run(&format!("receipt verify receipt-{giver}")).exits(0).says(&b).says("parts of kind blob");
        lab.run(&format!("receipt verify receipt-{giver} --json")).exits(0).says("\"moved\"");
        lab.run(&format!("owner --state {giver}")).exits(0).says("receipt").says("stayed nothing");
    }
    let file = lab.path("receipt-a");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    lab.run("receipt verify receipt-a").exits(1).says("no receipt that holds");
    lab.run("receipt verify nowhere").exits(1).says("nowhere");
}
