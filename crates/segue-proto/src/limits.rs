//! Limits and timers: one table, from which the spec's limits chapter comes. What is sent keeps them (LIMIT-KEEP-1).

macro_rules! limits {
    ($( $(#[doc = $doc:literal])+ $name:ident: $ty:ty = $value:expr, $unit:literal, $from:literal; )+) => {
        $( $(#[doc = $doc])+ #[doc = concat!("\n\nUnit: ", $unit, ". From: ", $from, ".")] pub const $name: $ty = $value; )+

        /// Every limit and timer.
        pub const TABLE: &[LimitRow] = &[
            $( LimitRow { name: stringify!($name), value: $name as u64, unit: $unit, from: $from, meaning: concat!($($doc),+) }, )+
        ];
    };
}

/// A row of the table of limits.
#[derive(Clone, Copy, Debug)]
pub struct LimitRow {
    /// Its name in the spec.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
    /// The unit of the value.
    pub unit: &'static str,
    /// Where the value comes from.
    pub from: &'static str,
    /// What it bounds.
    pub meaning: &'static str,
}

limits! {
    /// The payload of a control frame.
    MAX_FRAME: usize = 65_536, "bytes", "room for a page of records; a receiver holds one a link";
    /// What a device takes on a link before the peer is authenticated.
    MAX_PREAUTH: usize = 65_536, "bytes", "one frame";
    /// The body of a signed object.
    MAX_SIGNED_BODY: usize = 32_768, "bytes", "a revoke with the longest cut";
    /// The members in a genesis.
    MAX_MEMBERS: usize = 64, "devices", "more than one person owns";
    /// The records in one HEAD.
    MAX_RECORDS: usize = 128, "records", "128 of them fit a frame";
    /// The records of a session that a device keeps, all branches together.
    MAX_CHAIN: usize = 4_096, "records", "a handoff every hour for half a year; guess";
    /// How long exclusive writes wait for a target that fetches the last difference.
    MAX_PAUSE: u64 = 10_000_000, "µs", "as long as an answer may take; then the user goes on";
    /// The payload of a GRANT.
    MAX_GRANT: usize = 40_960, "bytes", "MAX_INLINE_BYTES and 6 KiB of signed objects; a frame holds it";
    /// The manifests that a target holds complete under one head: those that its last WANTs may have named.
    MAX_STAGED: usize = 8, "manifests", "more than a source announces before it has read an older WANT; guess";
    /// The bytes of the ops inline in a GRANT.
    MAX_INLINE_BYTES: usize = 34_816, "bytes", "32 KiB that a user wrote, and 2 KiB that their parts add";
    /// The ops inline in a GRANT.
    MAX_INLINE_OPS: usize = 256, "ops", "guess; the bytes bound first";
    /// The body of an exclusive op.
    MAX_OP_BODY: usize = 16_384, "bytes", "two of them go inline in a GRANT";
    /// The ops in one OPS.
    MAX_OPS: usize = 4_096, "ops", "fits a frame, at 16 bytes an op";
    /// The parts in one PARTS.
    MAX_SYNC_PARTS: usize = 256, "parts", "fits a frame, at 256 bytes a part";
    /// The encoding of a part in PARTS; one that is longer is sent in pieces.
    MAX_PART: usize = 61_440, "bytes", "a frame, less its own fields";
    /// The strands that a link may have named at once.
    MAX_STRANDS: usize = 4_096, "strands", "some 600 KB at a receiver; guess";
    /// The bytes of changes sent on a link beyond what the peer said that it holds.
    SYNC_WINDOW: usize = 262_144, "bytes", "a quarter of MAX_QUEUE: 100 ms at 2.6 MB/s";
    /// The longest time until a MARK follows what was sent.
    MARK_DELAY: u64 = 1_000_000, "µs", "what is sent twice after a lost link is at most a second old";
    /// How long content isn't put into a mailbox because a linked device may ask for it.
    FOLLOWER_WAIT: u64 = 30_000_000, "µs", "a follower that can asks within CONTENT_DELAY, or when another has had its turn; guess";
    /// The pause before content that no peer had is asked for again.
    CONTENT_DELAY: u64 = 2_000_000, "µs", "a peer that is being fed itself has it by then; guess";
    /// The strands that an op names as read.
    MAX_DEPS: usize = 64, "strands", "one a member";
    /// The actors of a part.
    MAX_ACTORS: usize = 1_024, "actors", "64 members that lose their store 16 times";
    /// The ops of a log or opaque part.
    MAX_STREAM_OPS: usize = 1_048_576, "ops", "four times the longest text history at hand, a key a time";
    /// The bytes that the ops of a session's log and opaque parts take, 128 for each and its body.
    MAX_STREAM_BYTES: usize = 268_435_456, "bytes", "two million keys typed; guess";
    /// The strands that a snapshot covers.
    MAX_COVERS: usize = 256, "strands", "fits a signed body; a part with more isn't compacted";
    /// The own strands that a device names when it says that it holds a snapshot.
    MAX_ENDS: usize = 64, "strands", "a store that was restored as often";
    /// A snapshot's content.
    MAX_SNAPSHOT: u64 = 16_777_216, "bytes", "the longest text history at hand, forty times";
    /// A piece of a snapshot.
    SNAPSHOT_PIECE: usize = 32_768, "bytes", "with the longest signed body it fits a frame and a letter";
    /// The snapshots of a part that wait to be held by all.
    MAX_SNAPSHOTS: usize = 4, "snapshots", "members who make one at once; guess";
    /// The hashes of ops in a snapshot that a device keeps of a part, for ops that had read them.
    MAX_KNOWN: usize = 16_384, "hashes", "a megabyte";
    /// The pause before more of a snapshot goes to a peer whose queue is full.
    SNAPSHOT_PAUSE: u64 = 10_000, "µs", "half a queue in it is 50 MB/s";
    /// How long a member may be away before it counts for nothing in compaction.
    MAX_AWAY: u64 = 7_776_000_000_000, "µs", "90 days: threat 29";
    /// The parts of a session.
    MAX_PARTS: usize = 65_536, "parts", "as many as a manifest lists";
    /// The manifest of a session.
    MAX_MANIFEST: usize = 4_194_304, "bytes", "about 14,000 files";
    /// The bytes of a path.
    MAX_PATH: usize = 1_024, "bytes", "a quarter of what Linux takes, four times Windows' default";
    /// The bytes of a component of a path.
    MAX_COMPONENT: usize = 255, "bytes", "what Linux, macOS and Windows take";
    /// The characters of a session's name; each takes at most 4 bytes.
    MAX_NAME: usize = 64, "characters", "a line in a dialogue";
    /// The manifests of a session that a device serves though its data has gone on since it announced them.
    MAX_ANNOUNCED: usize = 8, "manifests", "as many fetch at a time, each another one; guess";
    /// The handoffs of a session of which a device keeps what a receipt needs; the oldest go.
    MAX_RECEIPTS: usize = 16, "handoffs", "some 15 KB a session; guess";
    /// The merge kinds that a statement in a receipt tells of.
    MAX_TALLIES: usize = 16, "kinds", "three times as many as there are";
    /// The characters of the reason in a DECLINE; each takes at most 4 bytes.
    MAX_REASON: usize = 200, "characters", "a sentence or two; fits an extension";
    /// A chunk, and the blob that needs no chunk list.
    CHUNK: usize = 65_536, "bytes", "BLAKE3 is at full speed, a loss costs little";
    /// The smallest chunk that a chunk list may name, but for the last.
    MIN_CHUNK: usize = 16_384, "bytes", "a quarter of the usual chunk, as content-defined chunking has it";
    /// The largest chunk that a chunk list may name.
    MAX_CHUNK: usize = 4_194_304, "bytes", "what a receiver holds before it has verified anything";
    /// The chunks of a blob.
    MAX_CHUNKS: usize = 65_536, "chunks", "a list of at most 2.4 MB; with chunks of 4 MiB a blob of 256 GiB";
    /// The contents of one path in which a device looks for chunks of what takes their place.
    MAX_OLD: usize = 8, "contents", "as many values as a handful of devices write at once; guess";
    /// A blob.
    MAX_BLOB: u64 = 274_877_906_944, "bytes", "MAX_CHUNKS chunks of MAX_CHUNK";
    /// The ranges in one RANGES.
    MAX_RANGES: usize = 1_024, "ranges", "fits a frame";
    /// The requests that a peer may have outstanding on a link.
    MAX_REQUESTS: usize = 64, "requests", "twice what a fetch keeps in flight";
    /// The blobs that a fetch keeps in flight.
    FETCH_WINDOW: usize = 32, "blobs", "fills a link of 64 KiB files at 100 ms and 20 MB/s";
    /// Of these, the contents longer than CHUNK, with their chunk lists.
    LONG_WINDOW: usize = 16, "blobs", "half of FETCH_WINDOW: what is short always finds room";
    /// The paths of a session whose content is fetched first.
    MAX_FIRST: usize = 64, "paths", "what a user has open at once; guess";
    /// How often a blob is asked for again after bytes that don't match, before the fetch is given up.
    MAX_REFETCH: u32 = 3, "times", "a peer that lies three times isn't unlucky";
    /// The offers that a peer may make in a minute.
    MAX_OFFERS: usize = 10, "offers a minute", "nobody taps faster on purpose";
    /// The time over which a peer's offers are counted.
    OFFER_WINDOW: u64 = 60_000_000, "µs", "a minute";
    /// The sessions that other devices told of and nobody here asked for.
    MAX_HEARSAY: usize = 64, "sessions", "guess";
    /// The heads shown by a peer on a link that are remembered as answered; beyond that one may be answered again.
    MAX_SHOWN: usize = 64, "heads", "more than a session has terms; guess";
    /// The events that wait for the application; beyond that the oldest are dropped, for they are hints.
    MAX_EVENTS: usize = 8_192, "events", "guess";
    /// The WANTs that a session keeps.
    MAX_WANTS: usize = 64, "wants", "one a member";
    /// The extensions of a message.
    MAX_EXT: usize = 8, "extensions", "guess";
    /// The bytes of an extension.
    MAX_EXT_BYTES: usize = 1_024, "bytes", "guess";
    /// The parts named in `need` and in `pick`.
    MAX_PICK: usize = 64, "parts", "guess";
    /// The control bytes queued to a peer that doesn't read.
    MAX_QUEUE: usize = 1_048_576, "bytes", "16 full frames";
    /// The sessions of a device.
    MAX_SESSIONS: usize = 4_096, "sessions", "guess";
    /// The links of a device, authenticated or not.
    MAX_LINKS: usize = 1_024, "links", "the hostile peers of threat 22";
    /// The parents that an entry of a roster cites.
    MAX_PARENTS: usize = 16, "entries", "as many devices that edit at once as one person owns";
    /// The ends of strands in a cut.
    MAX_CUT_TIPS: usize = 256, "strands", "fits a signed body; more of them make more entries";
    /// The revokes of one device that a signer makes at once, for a cut that one can't hold.
    MAX_CUT_ENTRIES: usize = 64, "entries", "16,384 strands; guess";
    /// The writers of a session whose devices are known.
    MAX_WRITERS: usize = 16_384, "writers", "as many actors as 16 full parts have; guess";
    /// The writers named in one message.
    MAX_NAMED: usize = 20, "writers", "fits an extension";
    /// The bytes that the ops of a session take which are set aside, 128 for each and its body.
    MAX_ASIDE_BYTES: usize = 67_108_864, "bytes", "a quarter of MAX_STREAM_BYTES; guess";
    /// The heads in a cut.
    MAX_CUT_HEADS: usize = 32, "sessions", "fits a signed body; guess";
    /// The entries of a roster that a device keeps.
    MAX_ROSTER: usize = 1_024, "entries", "a device linked and revoked every week for ten years";
    /// The entries in one ROSTER.
    MAX_ENTRIES: usize = 128, "entries", "128 links of short names fit a frame";
    /// The heads in one ROSTER.
    MAX_ROSTER_HEADS: usize = 256, "heads", "an eighth of a frame; guess";
    /// The entries that wait for their parents.
    MAX_WAITING: usize = 128, "entries", "a page that overtook another";
    /// The addresses in an invitation.
    MAX_HINTS: usize = 4, "addresses", "two networks of two families";
    /// The life of an invitation.
    INVITE_TTL: u64 = 300_000_000, "µs", "threat 8: time to find the other device, not to lose the picture";
    /// From the check code on both devices to the end of linking.
    CONFIRM_TIMEOUT: u64 = 120_000_000, "µs", "two people compare six digits; guess";
    /// An envelope.
    MAX_ENVELOPE: usize = 64_512, "bytes", "a frame, less the other fields of PUT and ENVELOPES";
    /// The envelopes in one ENVELOPES.
    MAX_ENVELOPES: usize = 256, "envelopes", "a frame of the smallest";
    /// A piece of content in an envelope; the last of a content is shorter.
    PIECE: usize = 61_440, "bytes", "the most whole KiB that a PUT holds sealed";
    /// Content that goes by a mailbox; what is longer goes over links alone.
    MAX_MAILED: u64 = 201_326_592, "bytes", "three quarters of BOX_BYTES";
    /// The contents that a device takes from a mailbox at once.
    MAX_TAKEN: usize = 64, "contents", "their plans stay below 64 MiB";
    /// The bytes of content from a mailbox that wait to be stored.
    TAKEN_WINDOW: usize = 4_194_304, "bytes", "one chunk of the longest";
    /// The room that a device leaves in an envelope for what isn't frames.
    ENVELOPE_ROOM: usize = 1_024, "bytes", "letter, signature, seal and a MARK with the longest name";
    /// The bytes of envelopes with which a WATCH is answered; of longer ones it says only that they are there.
    WATCH_BYTES: usize = 4_096, "bytes", "a key typed, many times; a thousand watches at once stay below MAX_QUEUE a second";
    /// What a device may have said of sessions in custody and the mailbox hasn't answered.
    MAX_ASKS: usize = 512, "messages", "a HAVE for each of many sessions, as a link begins; guess";
    /// The requests of all devices but WATCHes that a mailbox hasn't answered, and what they said of sessions in custody.
    MAX_OPEN: usize = 67_108_864, "bytes", "a thousand full envelopes, or what ten thousand devices say as they hand over at once; a quarter of what peers take in all";
    /// What one of them counts at least.
    OPEN_COST: usize = 1_024, "bytes", "more than what is kept of an empty one; guess";
    /// The WATCHes that a device may have outstanding on a link.
    MAX_WATCHES: usize = 8_192, "watches", "two boxes a session, for MAX_SESSIONS";
    /// The PUTs and FETCHes that a device has outstanding at a mailbox, and as many DISCOVERs besides.
    MAILBOX_WINDOW: usize = 8, "requests", "half of MAX_QUEUE at most";
    /// The devices that a DISCOVER names. They are not told page by page: each takes the place of the one before.
    MAX_DISCOVER: usize = 256, "devices", "the members of a few large sessions; FOUND stays below a quarter of a frame";
    /// The devices of which a service knows, though they have no link, when it was there and whom they named.
    SEEN_DEVICES: usize = 16_384, "devices", "128 MiB if each names MAX_DISCOVER; guess";
    /// An introduction, sealed.
    MAX_INTRODUCTION: usize = 512, "bytes", "one with all its addresses is 372";
    /// The addresses in an introduction.
    MAX_ADDRESSES: usize = 8, "addresses", "both families on a few networks";
    /// The introductions of a device that a service passes on, and those of a service that a device opens.
    MAX_INTRODUCTIONS: usize = 30, "introductions a minute", "a user's devices, each of them a few times";
    /// Over how long introductions are counted.
    INTRODUCTION_WINDOW: u64 = 60_000_000, "µs", "a minute";
    /// How long a device that was introduced is waited for, and content isn't put for it meanwhile.
    MEET_WAIT: u64 = 3_000_000, "µs", "a few round trips by way of the service, and a handshake";
    /// The introductions of a device that are remembered, so that none counts twice.
    MAX_MET: usize = 64, "introductions", "two minutes of them";
    /// A packet that goes by way of a service.
    MAX_PACKET: usize = 1_452, "bytes", "what QUIC sends on most paths";
    /// The streams of packets of a device that a service passes on, and those to a device.
    MAX_RELAYS: usize = 8, "streams", "a user's devices; a quarter of the streams that a device permits";
    /// What a service, and either end, holds of a stream of packets that its receiver hasn't taken.
    RELAY_BUFFER: usize = 262_144, "bytes", "180 full packets: the burst of a sender; guess";
    /// How long the addresses of a device that was introduced have before it is dialled by way of the service.
    RELAY_PATIENCE: u64 = 1_000_000, "µs", "a handshake takes a round trip or two; a third of MEET_WAIT";
    /// The bytes of packets that a service takes of a device in a second, on average.
    RELAY_RATE: u64 = 33_554_432, "bytes a second", "a quarter of a gigabit link; guess";
    /// How long a stream of packets may bring none.
    RELAY_IDLE: u64 = 45_000_000, "µs", "IDLE: a link that lives says something thrice in it";
    /// How often a service has devices woken for one device, and one device for others.
    MAX_WAKES: usize = 10, "wakes in ten minutes", "a handoff a minute; each may start a process; guess";
    /// Over how long they are counted.
    WAKE_WINDOW: u64 = 600_000_000, "µs", "ten minutes";
    /// The content keys of a session that a device keeps.
    MAX_KEYS: usize = 64, "keys", "one a member, at a revocation that all learn of apart";
    /// The revoked devices that a content key names.
    MAX_WITHOUT: usize = 64, "devices", "as many as members; beyond that the ones named are the smallest";
    /// What an envelope counts beside its own bytes: it bounds boxes, too, for each has one at least.
    ENVELOPE_COST: u64 = 256, "bytes", "what redb keeps of an empty one: its place, its id, its box";
    /// The envelopes in a box.
    BOX_ENVELOPES: u64 = 1_048_576, "envelopes", "an hour of typing a day, an envelope a second, for most of a year; guess";
    /// The bytes in a box.
    BOX_BYTES: u64 = 268_435_456, "bytes", "four times the longest text history at hand, sealed a key at a time; guess";
    /// The bytes that a device may put into a mailbox.
    DEVICE_BYTES: u64 = 1_073_741_824, "bytes", "four full boxes; guess";
    /// The envelopes that a device may put into a mailbox.
    DEVICE_ENVELOPES: u64 = 4_194_304, "envelopes", "four full boxes; guess";
    /// The sessions that a device may bring into a service's custody.
    DEVICE_SESSIONS: u64 = 4_096, "sessions", "as many as a device has";
    /// The token in a LOGIN.
    MAX_TOKEN: usize = 8_192, "bytes", "twice what web servers take of a header; guess";
    /// The devices that come to be under one account by a token.
    ACCOUNT_DEVICES: usize = 64, "devices", "as many as members";
    /// The bytes that the devices of an account may put into a mailbox together.
    ACCOUNT_BYTES: u64 = 4_294_967_296, "bytes", "four times DEVICE_BYTES; guess";
    /// The envelopes that the devices of an account may put into a mailbox together.
    ACCOUNT_ENVELOPES: u64 = 16_777_216, "envelopes", "four times DEVICE_ENVELOPES";
    /// The chains that a service was told of and doesn't keep yet.
    MAX_TOLD: usize = 64, "chains", "as MAX_HEARSAY";
    /// The bytes in a mailbox, unless its operator says otherwise.
    MAILBOX_BYTES: u64 = 68_719_476_736, "bytes", "a small disk; guess";
    /// The bytes that a device may put in a second, on average.
    PUT_RATE: u64 = 8_388_608, "bytes a second", "a quarter of what an SSD syncs; guess";
    /// The bytes that a device may put at once.
    PUT_BURST: u64 = 67_108_864, "bytes", "eight seconds of PUT_RATE; guess";
    /// The pause after a mailbox refused an envelope, before it is put again.
    QUOTA_DELAY: u64 = 60_000_000, "µs", "a box doesn't empty by itself; guess";
    /// The longest lease that an owner asks for.
    LEASE: u64 = 60_000_000, "µs", "four keepalives; a grantor may give a shorter one";
    /// From link up to HELLO.
    HELLO_TIMEOUT: u64 = 5_000_000, "µs", "threat 23";
    /// From link up to a verified AUTH.
    AUTH_TIMEOUT: u64 = 10_000_000, "µs", "threat 23";
    /// From the first byte of a frame to its last.
    FRAME_TIMEOUT: u64 = 10_000_000, "µs", "threat 23";
    /// From a request for a blob to its answer, while no other answer is under way; then it counts as lost.
    ANSWER_TIMEOUT: u64 = 10_000_000, "µs", "as long as a frame may take";
    /// Silence after which a PING is sent.
    KEEPALIVE: u64 = 15_000_000, "µs", "half of the shortest common NAT timeout";
    /// Silence after which a link is given up.
    IDLE: u64 = 45_000_000, "µs", "three keepalives";
    /// How long a device that stands by waits until it asks the owner again.
    STANDBY_PAUSE: u64 = 10_000_000, "µs", "a user doesn't feel it, and neither does the battery; guess";
    /// How recently a standing WANT's sender must have been heard for the GRANT to go out unasked.
    HEARD: u64 = 1_000_000, "µs", "the gap that a user doesn't notice";
    /// The first pause before a GRANT is sent again on a live link; doubled each time.
    RESEND_MIN: u64 = 1_000_000, "µs", "a few round trips and a sync";
    /// The longest pause before a GRANT is sent again.
    RESEND_MAX: u64 = 60_000_000, "µs", "guess";
    /// The deadline of a handoff whose caller names none, and the default of `ttl`.
    HANDOFF_TIMEOUT: u64 = 60_000_000, "µs", "how long a person looks at a dialogue";
    /// The longest `ttl` that a grantor honours.
    MAX_TTL: u64 = 86_400_000_000, "µs", "a day";
}
