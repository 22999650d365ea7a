//! Waiting that ends: no test hangs.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Waits until this holds, which it has to do at some time within `most`.
pub async fn until(most: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let held = async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    within(most, what, held).await;
}

/// Waits for work that has to end within `most`.
pub async fn within<T>(most: Duration, what: &str, work: impl Future<Output = T>) -> T {
    timeout(most, work).await.unwrap_or_else(|_| panic!("not within {most:?}: {what}"))
}
