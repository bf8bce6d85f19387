//! Waiting: always for a condition, never for a time, and never for ever.

use std::time::{Duration, Instant};

/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);
/// How long a condition may take on a machine that has much else to do: compiling an image in a debug build is the
/// longest.
const PATIENCE: Duration = Duration::from_secs(120);

/// Looks until there is something to see; fails with `what` was waited for.
#[track_caller]
pub fn until<T, F: AsyncFnMut() -> Option<T>>(what: &str, look: F) -> impl Future<Output = T> {
    let location = std::panic::Location::caller();
    until_at(what, look, location)
}

async fn until_at<T, F: AsyncFnMut() -> Option<T>>(what: &str, mut look: F, location: &std::panic::Location<'_>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "{location}: waited {PATIENCE:?} for {what}");
        pause().await;
    }
}

/// The only sleep of these tests.
pub async fn pause() {
    tokio::time::sleep(POLL).await;
}

/// The result of something that must end by itself.
#[track_caller]
pub fn bounded<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let location = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(output) => output,
            Err(_) => panic!("{location}: waited {PATIENCE:?} for {what}"),
        }
    }
}
