//! Work that something else interrupts between two of its calls.

use standins::{Call, Cloud};

/// Does `work` with its calls taking effect one by one. Does `meanwhile` before the first call that `is_moment` accepts.
///
/// # Panics
/// If there is no such call.
pub async fn interrupted<T>(
    cloud: &Cloud,
    work: impl Future<Output = T>,
    is_moment: impl Fn(&Call) -> bool,
    meanwhile: impl Future<Output = ()>,
) -> T {
    let gate = cloud.gate();
    let mut meanwhile = Some(meanwhile);
    tokio::pin!(work);
    loop {
        let calls = tokio::select! {
            done = &mut work => {
                assert!(meanwhile.is_none(), "the moment has not come");
                return done;
            }
            calls = gate.wait_until(|calls| !calls.is_empty()) => calls,
        };
        if calls.iter().any(|it| is_moment(&it.call))
            && let Some(meanwhile) = meanwhile.take()
        {
            let held: Vec<u64> = calls.iter().map(|it| it.ticket).collect();
            tokio::pin!(meanwhile);
            loop {
                let calls = tokio::select! {
                    () = &mut meanwhile => break,
                    calls = gate.wait_until(|calls| calls.iter().any(|it| !held.contains(&it.ticket))) => calls,
                };
                let next = calls.iter().find(|it| !held.contains(&it.ticket));
                gate.let_through(next.expect("the gate waited for one").ticket).await;
            }
        }
        gate.let_through(calls[0].ticket).await;
    }
}
