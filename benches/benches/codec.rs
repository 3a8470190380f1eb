//! Encoding and decoding of control messages, and the hashes behind them: `cargo bench -p segue-benches --bench codec`.
//!
//! A regression test of this code against itself. `codec/encode` and `codec/decode` are whole frames, with the strict
//! check that a value encodes to just the bytes it came from; `open` is a signed body; `verify` and `sign` stand beside
//! them for scale.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::SigningKey;
use segue_proto::Rules;
use segue_proto::wire::codec::decode;
use segue_proto::wire::frame::Framer;
use segue_proto::wire::{
    ActorId, DeviceId, Exts, Hash, Have, Held, List, Message, Nonce, Ping, SessionId, Signed, Want, WantMsg,
    verify_message,
};

fn messages() -> Vec<(&'static str, Message)> {
    let ping = Ping { nonce: 1 << 40, answer: false, ext: Exts::empty() };
    let have = Have { req: 9, session: SESSION, head: HASH, data: None.into(), ext: Exts::empty() };
    let want = WantMsg { req: 9, want: Signed::sign(&want(), &key()), ext: Exts::empty() };
    vec![("ping", ping.into()), ("have", have.into()), ("want", want.into())]
}

fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    for (name, message) in messages() {
        let bytes = message.to_frame();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let mut out = Vec::with_capacity(bytes.len());
        group.bench_function(format!("encode/{name}"), |b| {
            b.iter(|| {
                out.clear();
                black_box(&message).encode(&mut out);
            });
        });
        group.bench_function(format!("decode/{name}"), |b| {
            let mut framer = Framer::default();
            b.iter(|| {
                framer.push(black_box(&bytes));
                let frame = framer.next(Rules::ALL).ok().flatten();
                frame.map(|frame| Message::decode(Rules::ALL, frame.number, &frame.payload))
            });
        });
    }
    group.finish();
}

fn bodies(c: &mut Criterion) {
    let signed = Signed::sign(&want(), &key());
    let device = DeviceId::new(key().verifying_key().to_bytes());
    let mut group = c.benchmark_group("signed");
    group.bench_function("open", |b| b.iter(|| black_box(&signed).open(Rules::ALL)));
    group.bench_function("decode-body", |b| b.iter(|| decode::<Want>(Rules::ALL, black_box(signed.body_bytes()))));
    group.bench_function("id", |b| b.iter(|| black_box(&signed).id()));
    group.bench_function("sign", |b| b.iter(|| Signed::sign(black_box(&want()), &key())));
    group.bench_function("prove", |b| {
        b.iter_batched(|| signed.clone(), |it| it.prove(Rules::ALL, |want| want.target), BatchSize::SmallInput);
    });
    let message = [1; 47];
    let sig = segue_proto::wire::sign_message(&message, &key());
    group.bench_function("verify", |b| b.iter(|| verify_message(&device, black_box(&message), &sig)));
    group.finish();
}

fn want() -> Want {
    Want {
        session: SESSION,
        parent: HASH,
        target: DeviceId::new(key().verifying_key().to_bytes()),
        actor: ActorId::new([3; 32]),
        nonce: Nonce::new([4; 16]),
        mode: 0,
        offer: None.into(),
        have: Some(Held { root: HASH, manifest: HASH }).into(),
        need: List::empty(),
        pick: List::empty(),
        ttl: 60_000,
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

const SESSION: SessionId = SessionId::new([6; 16]);
const HASH: Hash = Hash::new([7; 32]);

criterion_group!(benches, frames, bodies);
criterion_main!(benches);
