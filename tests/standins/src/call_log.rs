//! The calls so far, in order.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::Call;

/// A function that sees each call twice: first without a status, when the call begins to take effect, and again when
/// it is answered.
pub type Observer = Arc<dyn Fn(&Call) + Send + Sync>;

/// The calls and the number of the latest one.
#[derive(Default)]
pub(crate) struct CallLog {
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    latest_sequence: usize,
    /// In the order of their numbers.
    calls: Vec<Call>,
    observer: Option<Observer>,
}

impl CallLog {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn all(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    pub(crate) fn clear(&self) {
        self.lock().calls.clear();
    }

    pub(crate) fn latest_sequence(&self) -> usize {
        self.lock().latest_sequence
    }

    /// From now on, passes every call to an observer instead of recording it.
    pub(crate) fn hand_over(&self, observer: Observer) {
        self.lock().observer = Some(observer);
    }

    /// Numbers and records a call.
    pub(crate) fn begin(&self, call: &mut Call) {
        let mut log = self.lock();
        log.latest_sequence += 1;
        call.sequence = log.latest_sequence;
        match log.observer.clone() {
            None => log.calls.push(call.clone()),
            Some(observer) => {
                drop(log);
                observer(call);
            }
        }
    }

    /// Completes the record of a call that was answered.
    pub(crate) fn end(&self, mut call: Call, status: u16, bytes_out: u64) {
        let mut log = self.lock();
        call.status = Some(status);
        call.bytes_out = bytes_out;
        call.ended_at = Some(log.latest_sequence);
        if let Some(observer) = log.observer.clone() {
            drop(log);
            return observer(&call);
        }
        // The log may have been cleared in the meantime.
        if let Ok(index) = log.calls.binary_search_by_key(&call.sequence, |call| call.sequence) {
            log.calls[index] = call;
        }
    }
}
