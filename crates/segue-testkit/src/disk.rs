//! A disk that forgets what wasn't synced.
//!
//! Written batches and chunks stand in a log until a sync completes. A crash keeps a prefix of the log's batches and
//! any of its chunks, some of them torn; but never a batch with `after_chunks` without the chunks before it. Outside
//! the disk stands a witness, the continuity mark, by which an older state put back is noticed.

use segue_proto::{Batch, Continuity, Lsn};

use crate::device::{ChunkOut, Contents, Outputs};
use crate::rng::Rng;

/// A simulated disk with its witness.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    synced: Contents,
    /// How often the store was opened: durable at every open.
    opens: u64,
    /// Whether the store was opened without proof and hasn't yet made durable what it did about it.
    suspect: Option<Lsn>,
    log: Vec<Entry>,
    witness: Option<Witness>,
}

/// A point of the log up to which a sync makes things durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(usize);

/// An older state of a disk, without its witness.
#[derive(Clone, Debug)]
pub struct Backup {
    contents: Contents,
    opens: u64,
}

#[derive(Clone, Debug)]
enum Entry {
    Batch(Batch),
    Chunk(ChunkOut),
}

#[derive(Clone, Copy, Debug)]
struct Witness {
    opens: u64,
    lsn: Lsn,
}

impl Disk {
    /// Opens the store: what it holds, and whether it is known to go on from where it stopped.
    pub fn open(&mut self) -> (Contents, Continuity) {
        let continuity = self.continuity();
        self.opens += 1;
        match continuity {
            Continuity::Proven => self.note(),
            // The witness stays as it is until the store holds what the device does about it; else a crash in
            // between would make the restored state pass for the present one.
            Continuity::Unproven => self.suspect = Some(self.synced.last),
        }
        (self.synced.clone(), continuity)
    }

    /// Writes what a device put out, unsynced. Chunks come before batches.
    pub fn write(&mut self, outputs: &Outputs) {
        self.log.extend(outputs.chunks.iter().cloned().map(Entry::Chunk));
        self.log.extend(outputs.batches.iter().cloned().map(Entry::Batch));
    }

    /// Whether anything is written and not synced.
    pub fn is_dirty(&self) -> bool {
        !self.log.is_empty()
    }

    /// Begins a sync of all that is written so far.
    pub fn begin_sync(&self) -> Mark {
        Mark(self.log.len())
    }

    /// Begins a sync of so much of what is written: batches and chunks, in order.
    pub fn begin_sync_of(&self, written: usize) -> Mark {
        Mark(self.log.len().min(written))
    }

    /// How much is written and not synced: batches and chunks.
    pub fn written(&self) -> usize {
        self.log.len()
    }

    /// Ends a sync: the last batch that is durable now.
    pub fn end_sync(&mut self, mark: Mark) -> Lsn {
        for entry in self.log.drain(..mark.0.min(self.log.len())) {
            apply(&mut self.synced, &entry);
        }
        if self.suspect.is_some_and(|opened| self.synced.last > opened) {
            self.suspect = None;
        }
        if self.suspect.is_none() {
            self.note();
        }
        self.synced.last
    }

    /// Loses power: some prefix of the unsynced batches survives, and some of the unsynced chunks, perhaps torn.
    pub fn crash(&mut self, rng: &mut Rng) {
        let log = std::mem::take(&mut self.log);
        let batches = log.iter().filter(|entry| matches!(entry, Entry::Batch(_))).count() as u64;
        let kept = rng.below(batches + 1);
        let mut seen = 0;
        let ordered = log.iter().rposition(|entry| match entry {
            Entry::Batch(batch) => {
                seen += 1;
                batch.after_chunks && batches - seen < kept
            }
            Entry::Chunk(_) => false,
        });
        let mut left = kept;
        for (at, entry) in log.iter().enumerate() {
            match entry {
                Entry::Batch(_) if left == 0 => {}
                Entry::Batch(_) => {
                    left -= 1;
                    apply(&mut self.synced, entry);
                }
                Entry::Chunk(_) if ordered.is_some_and(|last| at < last) || rng.chance(500) => {
                    apply(&mut self.synced, entry);
                }
                Entry::Chunk(chunk) if rng.chance(300) => {
                    let torn = chunk.bytes.len() / 2;
                    self.synced.blobs.put(chunk.blob, chunk.offset, &chunk.bytes[..torn]);
                }
                Entry::Chunk(_) => {}
            }
        }
    }

    /// Changes every value that is durable: a disk that doesn't keep what was written.
    pub fn overwrite(&mut self, change: impl Fn(&mut Vec<u8>)) {
        self.synced.entries.values_mut().for_each(change);
    }

    /// What a crash at this instant leaves for certain.
    pub fn synced(&self) -> &Contents {
        &self.synced
    }

    /// A copy of the disk as it is, to be put back later. It doesn't hold the witness.
    pub fn backup(&self) -> Backup {
        Backup { contents: self.synced.clone(), opens: self.opens }
    }

    /// Puts an older state back. The witness stays as it is.
    pub fn restore(&mut self, backup: &Backup) {
        self.synced = backup.contents.clone();
        self.opens = backup.opens;
        self.log.clear();
        self.suspect = None;
    }

    /// Puts a state back together with a witness that fits it: nothing on the device tells that it was.
    pub fn roll_back(&mut self, backup: &Backup) {
        self.restore(backup);
        self.note();
    }

    /// Loses the witness.
    pub fn forget_witness(&mut self) {
        self.witness = None;
    }

    fn continuity(&self) -> Continuity {
        let new = self.opens == 0 && self.witness.is_none();
        let goes_on = self.witness.is_some_and(|mark| self.opens >= mark.opens && self.synced.last >= mark.lsn);
        if new || (goes_on && self.suspect.is_none()) { Continuity::Proven } else { Continuity::Unproven }
    }

    fn note(&mut self) {
        self.witness = Some(Witness { opens: self.opens, lsn: self.synced.last });
    }
}

fn apply(contents: &mut Contents, entry: &Entry) {
    match entry {
        Entry::Chunk(chunk) => contents.blobs.put(chunk.blob, chunk.offset, &chunk.bytes),
        Entry::Batch(batch) => {
            for write in &batch.writes {
                match &write.value {
                    Some(value) => contents.entries.insert(write.key.clone(), value.clone()),
                    None => contents.entries.remove(&write.key),
                };
            }
            contents.last = batch.lsn;
        }
    }
}

#[cfg(test)]
mod tests {
    use segue_proto::Write;
    use segue_proto::wire::Hash;

    use super::*;

    fn batch(lsn: u64, after_chunks: bool) -> Batch {
        Batch { lsn: Lsn(lsn), writes: vec![Write { key: b"k".to_vec(), value: Some(vec![lsn as u8]) }], after_chunks }
    }

    fn chunk(offset: u64) -> ChunkOut {
        ChunkOut { blob: Hash::new([7; 32]), offset, bytes: vec![1; 4] }
    }

    #[test]
    fn only_what_was_written_before_a_sync_began_is_durable_after_it() {
        let mut disk = Disk::default();
        disk.open();
        disk.write(&Outputs { batches: vec![batch(1, false)], ..Outputs::default() });
        let mark = disk.begin_sync();
        disk.write(&Outputs { batches: vec![batch(2, false)], ..Outputs::default() });
        assert_eq!(disk.end_sync(mark), Lsn(1));
        assert!(disk.is_dirty());
        assert_eq!(disk.synced().entries[&b"k"[..]], vec![1]);
    }

    #[test]
    fn a_crash_keeps_a_prefix_and_never_a_batch_without_the_chunks_that_it_comes_after() {
        let mut survived = [0; 4];
        for seed in 0..200 {
            let mut rng = Rng::new(seed, "crash");
            let mut disk = Disk::default();
            disk.open();
            disk.write(&Outputs { batches: vec![batch(1, false)], ..Outputs::default() });
            disk.write(&Outputs {
                chunks: vec![chunk(0), chunk(4)],
                batches: vec![batch(2, true)],
                ..Outputs::default()
            });
            disk.write(&Outputs { chunks: vec![chunk(8)], batches: vec![batch(3, false)], ..Outputs::default() });
            disk.crash(&mut rng);
            let last = disk.synced().last;
            survived[last.0 as usize] += 1;
            assert!(last < Lsn(2) || disk.synced().blobs.read(&Hash::new([7; 32]), 0, 8).is_some());
        }
        assert!(survived.iter().all(|times| *times > 0), "{survived:?}");
    }

    #[test]
    fn a_restored_backup_is_noticed_and_stays_suspect_until_it_was_acted_on() {
        let mut disk = Disk::default();
        assert_eq!(disk.open().1, Continuity::Proven);
        disk.write(&Outputs { batches: vec![batch(1, false)], ..Outputs::default() });
        disk.end_sync(disk.begin_sync());
        let backup = disk.backup();
        disk.write(&Outputs { batches: vec![batch(2, false)], ..Outputs::default() });
        disk.end_sync(disk.begin_sync());
        assert_eq!(disk.open().1, Continuity::Proven);
        disk.restore(&backup);
        assert_eq!(disk.open().1, Continuity::Unproven);
        assert_eq!(disk.open().1, Continuity::Unproven);
        disk.write(&Outputs { batches: vec![batch(2, false)], ..Outputs::default() });
        disk.end_sync(disk.begin_sync());
        assert_eq!(disk.open().1, Continuity::Proven);
    }

    #[test]
    fn a_state_that_is_put_back_with_its_witness_passes_for_the_present_one() {
        let mut disk = Disk::default();
        disk.open();
        let backup = disk.backup();
        disk.write(&Outputs { batches: vec![batch(1, false)], ..Outputs::default() });
        disk.end_sync(disk.begin_sync());
        disk.roll_back(&backup);
        let (contents, continuity) = disk.open();
        assert_eq!((contents.last, continuity), (Lsn(0), Continuity::Proven));
    }

    #[test]
    fn a_lost_witness_is_a_lost_proof() {
        let mut disk = Disk::default();
        disk.open();
        disk.forget_witness();
        assert_eq!(disk.open().1, Continuity::Unproven);
    }
}
