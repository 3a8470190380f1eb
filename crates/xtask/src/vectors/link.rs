//! Chapter link: HELLO, and what AUTH signs.

use segue_proto::wire::codec::encode;
use segue_proto::wire::{Auth, DeviceId, Ext, Hello, List, Message, Nonce, Sig, sign_message, verify_message};
use segue_proto::{Generation, Role, link};

use super::byhand;
use super::cast::{Device, LAPTOP, PHONE, STRANGER, list};
use super::form::{Book, Vector, bytes};
use super::meet::{Met, meet};
use super::wire::message_frame;

/// Adds the chapter's vectors.
pub(crate) fn add(book: &mut Book) {
    hellos(book);
    let initiator = Proof { role: 0, by: LAPTOP, hello: encode(&hello()), binding: BINDING };
    let responder = Proof { role: 1, by: PHONE, hello: encode(&answer()), binding: BINDING };
    prove(book, &initiator, "auth-initiator", "The AUTH of the side that dialled.");
    prove(book, &responder, "auth-responder", "The AUTH of the side that was dialled.");
    let grease = Hello { ext: list(vec![Ext { id: 27, bytes: Default::default() }]), ..hello() };
    let greased = Proof { hello: encode(&grease), ..initiator.clone() };
    let what = "The AUTH of a side whose HELLO has an extension, which is signed with it.";
    prove(book, &greased, "auth-hello-extension", what);
    refused(book, &initiator);
}

/// The laptop's HELLO.
pub(crate) fn hello() -> Hello {
    Hello { generation: 4, floor: 1, boot: Nonce::new(std::array::from_fn(|at| at as u8)), ext: List::empty() }
}

/// The laptop's AUTH.
pub(crate) fn auth_initiator() -> Auth {
    Proof { role: 0, by: LAPTOP, hello: encode(&hello()), binding: BINDING }.auth()
}

/// The phone's HELLO.
fn answer() -> Hello {
    Hello { generation: 3, floor: 2, boot: Nonce::new([0x50; 16]), ext: List::empty() }
}

/// The channel binding of the examples.
const BINDING: [u8; 32] = [0x5a; 32];

/// What AUTH proves, and who proves it.
#[derive(Clone)]
struct Proof {
    role: u8,
    by: Device,
    hello: Vec<u8>,
    binding: [u8; 32],
}

impl Proof {
    fn hashed(&self, key: &DeviceId) -> Vec<u8> {
        [&[self.role], key.as_bytes().as_slice(), &self.hello, &self.binding].concat()
    }

    fn message(&self, key: &DeviceId) -> Vec<u8> {
        let hash = byhand::hash("segue/1 auth", &self.hashed(key));
        [b"segue/1 sig auth".as_slice(), &hash].concat()
    }

    fn auth(&self) -> Auth {
        let key = self.by.id();
        Auth { key, sig: Sig::new(byhand::sign_bytes(&self.message(&key), &self.by.secret)), ext: List::empty() }
    }

    fn vector(&self, name: &str, what: &str) -> Vector {
        let key = self.by.id();
        Vector::valid("link", "auth", name, what)
            .clause("LINK-AUTH-2")
            .input("role", u64::from(self.role))
            .input("secret", bytes(self.by.secret))
            .input("hello", bytes(&self.hello))
            .input("binding", bytes(self.binding))
            .step("key", bytes(key.as_bytes()))
            .step("hashed", bytes(self.hashed(&key)))
            .step("hash", bytes(byhand::hash("segue/1 auth", &self.hashed(&key))))
            .step("message", bytes(self.message(&key)))
            .step("signature", bytes(self.auth().sig.as_bytes()))
            .expect("frame", bytes(Message::from(self.auth()).to_frame()))
    }
}

/// Adds the vector of a proof, if the core signs the same.
fn prove(book: &mut Book, proof: &Proof, name: &str, what: &str) {
    let vector = proof.vector(name, what);
    let role = if proof.role == 0 { Role::Initiator } else { Role::Responder };
    let key = proof.by.id();
    let core = link::auth_message(role, &key, &proof.hello, &proof.binding);
    book.same(&vector, "the signed bytes", core.clone(), proof.message(&key));
    if proof.role == 0 {
        let frames = [byhand::frame(0, &proof.hello), Message::from(proof.auth()).to_frame()].concat();
        let met = meet(Generation::V7, Generation::V1_4, proof.binding, &frames);
        book.same(&vector, "the link", met, Met::Ready(Generation::V7));
    }
    let sig = sign_message(&core, &proof.by.key());
    book.same(&vector, "the signature", sig, proof.auth().sig);
    book.add(if proof.hello.len() == PLAIN { vector.shown() } else { vector });
}

/// The payload of a HELLO without extensions.
const PLAIN: usize = 19;

/// HELLOs that a receiver takes, and such that it doesn't.
fn hellos(book: &mut Book) {
    let own = message_frame(book, "link", "hello", "A device that speaks 7 and accepts 1.4.", &hello().into());
    book.add(own.clause("LINK-HELLO-2"));
    let later = Hello { generation: 9, floor: 4, ..hello() };
    let what = "A device that speaks a later generation than any of this version, and accepts 7.";
    let later = message_frame(book, "link", "hello-later-generation", what, &later.into());
    book.add(later.clause("LINK-HELLO-2"));
    for (name, generation, floor, what) in [
        ("hello-floor-0", 4, 0, "A floor that is no generation."),
        ("hello-floor-5", 9, 5, "A floor that is no generation of this version."),
        ("hello-floor-above", 2, 3, "A floor above the highest generation."),
        ("hello-generation-0", 0, 0, "A highest generation that is none."),
    ] {
        let frame = Message::from(Hello { generation, floor, ..hello() }).to_frame();
        let vector = Vector::invalid("link", "hello", name, what, ("LINK-HELLO-2", "WIRE_VALUE"));
        let vector = vector.input("frame", bytes(&frame));
        let met = meet(Generation::V7, Generation::V1_4, BINDING, &frame);
        book.same(&vector, "the link", met, Met::Ended("WIRE_VALUE"));
        book.add(vector);
    }
}

/// AUTHs that are for something else than this link.
fn refused(book: &mut Book, good: &Proof) {
    let stranger = good.auth();
    for (name, what, auth) in [
        ("auth-role", "A signature made for the other role.", Proof { role: 1, ..good.clone() }.auth()),
        ("auth-binding", "A signature made for another channel.", Proof { binding: [0x5b; 32], ..good.clone() }.auth()),
        (
            "auth-hello",
            "A signature made for another HELLO.",
            Proof { hello: encode(&answer()), ..good.clone() }.auth(),
        ),
        ("auth-key", "A signature by another key than AUTH names.", {
            Auth { sig: Proof { by: STRANGER, ..good.clone() }.auth().sig, ..good.auth() }
        }),
        ("auth-signature-zero", "A signature of zeros.", Auth { sig: Sig::ZERO, ..stranger }),
    ] {
        let vector = Vector::invalid("link", "auth", name, what, ("LINK-AUTH-2", "AUTH_FAILED"))
            .input("role", u64::from(good.role))
            .input("hello", bytes(&good.hello))
            .input("binding", bytes(good.binding))
            .input("frame", bytes(Message::from(auth.clone()).to_frame()));
        let frames = [byhand::frame(0, &good.hello), Message::from(auth.clone()).to_frame()].concat();
        let met = meet(Generation::V7, Generation::V1_4, BINDING, &frames);
        book.same(&vector, "the link", met, Met::Ended("AUTH_FAILED"));
        let proven = verify_message(&auth.key, &good.message(&auth.key), &auth.sig);
        book.same(&vector, "whether it verifies", proven, false);
        book.add(vector);
    }
}
