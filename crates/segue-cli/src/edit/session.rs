//! What the editor needs of a session: a place where ops go, and where changes come from.

/// A text part of a session, as one device sees it. Nothing here waits.
pub(crate) trait Session {
    /// The session's name.
    fn name(&self) -> &str;

    /// Takes an op of the user's. It counts as saved, and later as received, only when [`Session::poll`] says so.
    fn submit(&mut self, op: Vec<u8>);

    /// What has happened since the last call, in order. An op of another device comes once, after those that its writer
    /// had read; none comes that was submitted here.
    fn poll(&mut self) -> Vec<Change>;
}

/// What happens to a session. Ops submitted here are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// An op of another device.
    Op(Vec<u8>),
    /// The text is another: that of a snapshot, if there is one, and of these ops, in order, with those submitted since.
    /// Something that a revoked device wrote was taken out, or `resumed`: this device was away for so long that it goes on
    /// from the others' snapshot.
    Reread { snapshot: Option<Vec<u8>>, ops: Vec<Vec<u8>>, resumed: bool },
    /// The names of the other devices that are online now.
    Online(Vec<String>),
    /// This device reaches another, or none any more.
    Link(bool),
    /// The ops submitted here up to this one survive a crash.
    Saved(u64),
    /// The ops submitted here up to this one are held by another device too.
    Received(u64),
    /// Nothing is saved any more.
    Failed(String),
    /// Something that the user is to know, whatever they edit.
    Alarm(String),
}
