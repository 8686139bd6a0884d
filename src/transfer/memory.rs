//! Bounds what transfers hold in memory, whatever the archive.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Room for what is read of the archive, and for what is made of it.
///
/// Who holds room of the first kind may wait for the second, and never the other way about: so both are given back
/// in the end, however little there is.
pub(super) struct Memory {
    read: Room,
    unpacked: Room,
}

/// What a transfer holds.
pub(super) type Held<'m> = Option<SemaphorePermit<'m>>;

impl Memory {
    pub(super) fn new(bytes: u64) -> Self {
        let (read, unpacked) = shares(bytes);
        Self { read: Room::new(read), unpacked: Room::new(unpacked) }
    }

    /// Adds room that nothing else needs.
    pub(super) fn grow(&self, bytes: u64) {
        let (read, unpacked) = shares(bytes);
        self.read.grow(read);
        self.unpacked.grow(unpacked);
    }

    /// Waits for room for what is to be read.
    pub(super) async fn to_read(&self, bytes: u64) -> Held<'_> {
        self.read.reserve(bytes).await
    }

    /// Waits for room for what becomes of it.
    pub(super) async fn to_unpack(&self, bytes: u64) -> Held<'_> {
        self.unpacked.reserve(bytes).await
    }

    /// Waits for room for what is read and unpacked by and by: some of both kinds.
    pub(super) async fn for_both(&self, bytes: u64) -> (Held<'_>, Held<'_>) {
        let (read, unpacked) = shares(bytes);
        (self.to_read(read).await, self.to_unpack(unpacked).await)
    }
}

/// Gives back some of what is held, if that is as much.
pub(super) fn give_back(held: &mut Held<'_>, bytes: u64) {
    let kib = usize::try_from(bytes / 1024);
    if let (Some(held), Ok(kib)) = (held, kib) {
        drop(held.split(kib));
    }
}

/// What is unpacked is longer, and waits for S3.
fn shares(bytes: u64) -> (u64, u64) {
    let read = bytes * 2 / 5;
    (read, bytes - read)
}

struct Room {
    kib: AtomicU32,
    free: Semaphore,
}

impl Room {
    fn new(bytes: u64) -> Self {
        let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX >> 4);
        Self { kib: kib.into(), free: Semaphore::new(kib as usize) }
    }

    fn grow(&self, bytes: u64) {
        let kib = u32::try_from(bytes / 1024).unwrap_or_default();
        self.kib.fetch_add(kib, Ordering::Relaxed);
        self.free.add_permits(kib as usize);
    }

    /// One alone may always go on, even if it is over the budget.
    async fn reserve(&self, bytes: u64) -> Held<'_> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(self.kib.load(Ordering::Relaxed));
        // The semaphore is never closed.
        self.free.acquire_many(kib).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future;
    use tokio::time::timeout;

    use super::*;

    const KIB: u64 = 1024;

    #[tokio::test]
    async fn however_little_there_is_all_who_read_can_unpack() {
        let memory = Memory::new(100 * KIB);
        let passing = (0..50).map(async |number| {
            let read = memory.to_read(30 * KIB).await;
            tokio::task::yield_now().await;
            // Some of them would take more than there is.
            let _unpacked = memory.to_unpack((number % 5) * 30 * KIB).await;
            drop(read);
            tokio::task::yield_now().await;
        });
        let large = (0..50).map(async |_| {
            let _both = memory.for_both(KIB << 20).await;
            tokio::task::yield_now().await;
        });
        let all = future::join(future::join_all(passing), future::join_all(large));
        let passed = timeout(Duration::from_secs(10), all).await;
        assert!(passed.is_ok(), "someone waits for ever");
        let free = |room: &Room| room.free.available_permits();
        assert_eq!((free(&memory.read), free(&memory.unpacked)), (40, 60));
    }

    #[tokio::test]
    async fn what_is_given_back_is_free_at_once_and_the_rest_in_the_end() {
        let memory = Memory::new(100 * KIB);
        memory.grow(100 * KIB);
        let mut held = memory.to_unpack(70 * KIB).await;
        give_back(&mut held, 30 * KIB);
        assert_eq!(memory.unpacked.free.available_permits(), 120 - 40);
        // More than is held.
        give_back(&mut held, 50 * KIB);
        assert_eq!(memory.unpacked.free.available_permits(), 120 - 40);
        drop(held);
        assert_eq!(memory.unpacked.free.available_permits(), 120);
        assert_eq!(memory.read.free.available_permits(), 80);
    }
}
