//! Waiting that ends: no test hangs.

use std::any::Any;
use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

/// How long a program may take for what it has to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until this holds, which it has to do at some time within `most`.
pub async fn until(most: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    found(most, what, async || holds().await.then_some(())).await;
}

/// Looks until something is there, which it has to be within `most`.
pub async fn found<T>(most: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    within(most, what, looking).await
}

/// Waits for work that has to end within `most`.
pub async fn within<T>(most: Duration, what: &str, work: impl Future<Output = T>) -> T {
    timeout(most, work).await.unwrap_or_else(|_| panic!("not within {most:?}: {what}"))
}

/// Runs named cases at once, each to its end, and then says which of them failed and why.
pub async fn side_by_side<N, F>(cases: impl IntoIterator<Item = (N, F)>)
where
    N: Display,
    F: Future<Output = ()>,
{
    let run = async |(name, case): (N, F)| {
        let ended = AssertUnwindSafe(case).catch_unwind().await;
        ended.err().map(|panic| format!("{name}: {}", message(&*panic)))
    };
    let failed: Vec<_> = join_all(cases.into_iter().map(run)).await.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text")
}
