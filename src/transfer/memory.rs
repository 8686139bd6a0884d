//! The memory budget of the transfers, whatever the archive holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes in flight may take a sixtieth of the function's memory, and bytes read ahead a tenth, up to the most that makes
/// deployments faster. The budget for bytes read ahead is the larger one, because these bytes need no second GET. The part
/// of it that stays unused goes to the bytes in flight.
const IN_FLIGHT_DIVISOR: u64 = 60;
const AHEAD_DIVISOR: u64 = 10;
const MAX_IN_FLIGHT_BYTES: u64 = 16 << 20;
const MAX_AHEAD_BYTES: u64 = 64 << 20;

/// Less is read ahead if the process would otherwise take more than a quarter of the memory, or more than 128 MiB. Beside
/// the budgets it takes 12 MiB, and 400 bytes for each put, in the index, the plan and the manifest. The 12 MiB hold the
/// connections of 102 transfers at once; each further one takes 128 KiB.
const PROCESS_DIVISOR: u64 = 4;
const MAX_PROCESS_BYTES: u64 = 128 << 20;
const IDLE_BYTES: u64 = 12 << 20;
const BYTES_PER_PUT: u64 = 400;
const IDLE_TRANSFERS: usize = 102;
const BYTES_PER_TRANSFER: u64 = 128 << 10;

/// Budgets for the bytes that are read from the archive, and for the bodies that are unpacked from them.
///
/// Lock order: `read`, then `unpacked`, so that transfers cannot deadlock. A transfer that holds some of `unpacked`
/// never waits for `read`, so it always ends and releases both, however small the budgets are.
pub(super) struct Memory {
    function_bytes: u64,
    read: Budget,
    unpacked: Budget,
}

/// Memory that a transfer holds until this is dropped.
#[derive(Debug, Default)]
pub(super) struct Reservation {
    _read: Option<OwnedSemaphorePermit>,
    unpacked: Option<OwnedSemaphorePermit>,
}

impl Memory {
    pub(super) fn new(function_mib: u64) -> Self {
        let function_bytes = function_mib << 20;
        Self::with_budget(function_bytes, in_flight_bytes(function_bytes))
    }

    fn with_budget(function_bytes: u64, bytes: u64) -> Self {
        let (read, unpacked) = split(bytes);
        Self { function_bytes, read: Budget::new(read), unpacked: Budget::new(unpacked) }
    }

    /// Returns how many bytes may be read before the first put and kept for the puts, of which there are `puts`, and
    /// `at_once` at a time.
    pub(super) fn ahead_bytes(&self, puts: usize, at_once: usize) -> u64 {
        let most = MAX_PROCESS_BYTES.min(self.function_bytes / PROCESS_DIVISOR);
        let left = most.saturating_sub(self.process_bytes(puts, at_once));
        left.min(self.function_bytes / AHEAD_DIVISOR).min(MAX_AHEAD_BYTES)
    }

    /// Returns how much memory the process takes if nothing is read ahead.
    fn process_bytes(&self, puts: usize, at_once: usize) -> u64 {
        let more_transfers = at_once.saturating_sub(IDLE_TRANSFERS) as u64;
        IDLE_BYTES
            + more_transfers * BYTES_PER_TRANSFER
            + in_flight_bytes(self.function_bytes)
            + puts as u64 * BYTES_PER_PUT
    }

    /// Splits additional bytes between the two budgets.
    pub(super) fn grow(&self, bytes: u64) {
        let (read, unpacked) = split(bytes);
        self.read.grow(read);
        self.unpacked.grow(unpacked);
    }

    /// Waits for memory for bytes of the archive.
    pub(super) async fn reserve_read(&self, bytes: u64) -> Reservation {
        Reservation { _read: self.read.reserve(bytes).await, unpacked: None }
    }

    /// Waits for memory for an unpacked body.
    pub(super) async fn reserve_unpacked(&self, bytes: u64) -> Reservation {
        Reservation { _read: None, unpacked: self.unpacked.reserve(bytes).await }
    }

    /// Waits for `bytes` split between both budgets, for an entry that is read and unpacked piece by piece.
    pub(super) async fn reserve_both(&self, bytes: u64) -> Reservation {
        let (read, unpacked) = split(bytes);
        let read = self.read.reserve(read).await;
        Reservation { _read: read, unpacked: self.unpacked.reserve(unpacked).await }
    }
}

impl Reservation {
    /// Releases some of the unpacked bytes early; does nothing if fewer are held.
    pub(super) fn release_unpacked(&mut self, bytes: u64) {
        let kib = usize::try_from(bytes / 1024);
        if let (Some(permit), Ok(kib)) = (&mut self.unpacked, kib) {
            drop(permit.split(kib));
        }
    }
}

fn in_flight_bytes(function_bytes: u64) -> u64 {
    MAX_IN_FLIGHT_BYTES.min(function_bytes / IN_FLIGHT_DIVISOR)
}

/// Splits a budget. Unpacked bytes get more of it, because they are longer and wait for S3.
fn split(bytes: u64) -> (u64, u64) {
    let read = bytes * 2 / 5;
    (read, bytes - read)
}

/// A number of bytes, counted in KiB.
struct Budget {
    kib: AtomicU32,
    free: Arc<Semaphore>,
}

impl Budget {
    fn new(bytes: u64) -> Self {
        let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX >> 4);
        Self { kib: kib.into(), free: Arc::new(Semaphore::new(kib as usize)) }
    }

    fn grow(&self, bytes: u64) {
        let kib = u32::try_from(bytes / 1024).unwrap_or_default();
        self.kib.fetch_add(kib, Ordering::Relaxed);
        self.free.add_permits(kib as usize);
    }

    /// Waits for `bytes`, or for the whole budget if that is less: a transfer that needs more runs alone.
    async fn reserve(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(self.kib.load(Ordering::Relaxed));
        // The semaphore is never closed.
        self.free.clone().acquire_many_owned(kib).await.ok()
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
    async fn every_transfer_ends_however_small_the_budget_is() {
        let memory = Memory::with_budget(0, 100 * KIB);
        let passing = (0..50).map(async |number| {
            let read = memory.reserve_read(30 * KIB).await;
            tokio::task::yield_now().await;
            // Some of them need more than the whole budget.
            let _unpacked = memory.reserve_unpacked((number % 5) * 30 * KIB).await;
            drop(read);
            tokio::task::yield_now().await;
        });
        let large = (0..50).map(async |_| {
            let _both = memory.reserve_both(KIB << 20).await;
            tokio::task::yield_now().await;
        });
        let all = future::join(future::join_all(passing), future::join_all(large));
        let passed = timeout(Duration::from_secs(10), all).await;
        assert!(passed.is_ok(), "a transfer waits for ever");
        let free = |budget: &Budget| budget.free.available_permits();
        assert_eq!((free(&memory.read), free(&memory.unpacked)), (40, 60));
    }

    #[test]
    fn reading_ahead_takes_the_process_over_128_mib_at_no_size_of_the_function() {
        for (function_mib, at_once) in [(128, 32), (512, 102), (1024, 204), (1769, 256), (10_240, 256)] {
            let memory = Memory::new(function_mib);
            for puts in [0, 10_000, 70_000, 200_000] {
                let ahead = memory.ahead_bytes(puts, at_once);
                let process = memory.process_bytes(puts, at_once) + ahead;
                assert!(ahead == 0 || process <= 128 << 20, "{function_mib} MiB, {puts} puts: {process}");
            }
        }
        assert!(Memory::new(1769).ahead_bytes(200_000, 256) > 0);
    }

    #[tokio::test]
    async fn released_memory_is_free_immediately() {
        let memory = Memory::with_budget(0, 100 * KIB);
        memory.grow(100 * KIB);
        let mut held = memory.reserve_unpacked(70 * KIB).await;
        held.release_unpacked(30 * KIB);
        assert_eq!(memory.unpacked.free.available_permits(), 120 - 40);
        // More than it holds.
        held.release_unpacked(50 * KIB);
        assert_eq!(memory.unpacked.free.available_permits(), 120 - 40);
        drop(held);
        assert_eq!(memory.unpacked.free.available_permits(), 120);
        assert_eq!(memory.read.free.available_permits(), 80);
    }
}
