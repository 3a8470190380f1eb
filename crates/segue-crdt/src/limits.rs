//! What bounds a document. An op's body has the core's own limit.

/// The longest op, in bytes: the core's limit for an op's body. Longer edits are flushed as several ops.
pub const MAX_UPDATE: usize = segue_proto::limits::MAX_OP_BODY;

/// The longest snapshot that is opened, in bytes. A paper of 100,000 characters, typed key by key, takes 0.3 MB.
pub const MAX_SNAPSHOT: usize = 67_108_864;

/// The bytes of all ops and the snapshot that a document takes before it is broken. A guess: ten papers' keystrokes. The
/// library keeps up to ten times as much in memory.
pub const MAX_HISTORY: u64 = 67_108_864;

/// The bytes of ops that wait for others which they build on. The core delivers in causal order, so an honest writer's
/// never wait.
pub const MAX_WAITING: u64 = 1_048_576;

/// The length up to which a document takes local edits, in UTF-16 units or elements.
pub const MAX_LEN: u32 = 16_777_216;

/// The longest key of a map, in bytes.
pub const MAX_KEY: usize = 1_024;

/// The longest value of a map or an array, in bytes: with a key and what stands around them it fits an op.
pub const MAX_VALUE: usize = 8_192;

/// The elements inserted into an array by one edit.
pub const MAX_ELEMENTS: usize = 65_536;

/// The largest clock of a writer, in UTF-16 units or elements; a quarter of what the library counts to.
pub const MAX_CLOCK: u32 = 0x3fff_ffff;

/// The refused ops that a document lists; beyond that they are only counted.
pub const MAX_LISTED: usize = 64;
