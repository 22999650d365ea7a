//! Positions in the feed as clients hold them: `<epoch>.<number>`.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wicara_model::EventNumber;

/// Hexadecimal digits of an epoch: enough that no two databases share one by chance.
const EPOCH_DIGITS: usize = 16;

/// A position. Opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedCursor {
    epoch: Arc<str>,
    number: EventNumber,
}

impl fmt::Display for FeedCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number.0)
    }
}

impl FeedCursor {
    pub(super) fn new(epoch: &Arc<str>, number: EventNumber) -> Self {
        Self { epoch: Arc::clone(epoch), number }
    }
}

/// The epoch of a database, from what names its feed: see [`Store::event_epoch`](wicara_store::Store::event_epoch).
pub(super) fn epoch(name: &str) -> Arc<str> {
    let hash = Sha256::digest(name);
    let digits = hash.iter().take(EPOCH_DIGITS / 2).map(|byte| format!("{byte:02x}"));
    digits.collect::<String>().into()
}

/// The number of a position of this epoch; `None` for another epoch, or for a text that is no position.
pub(super) fn number(epoch: &str, cursor: &str) -> Option<EventNumber> {
    let (of, number) = cursor.rsplit_once('.')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (of == epoch && is_number).then(|| number.parse().ok().map(EventNumber)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_positions_of_the_epoch_are_read() {
        let epoch = epoch("a database");
        let cursor = FeedCursor::new(&epoch, EventNumber(7)).to_string();
        assert_eq!(number(&epoch, &cursor), Some(EventNumber(7)));
        let other = FeedCursor::new(&super::epoch("another"), EventNumber(7)).to_string();
        for cursor in
            [&other, "", ".", "7", &format!("{epoch}."), &format!("{epoch}.-1"), &format!("{epoch}.+1")]
        {
            assert_eq!(number(&epoch, cursor), None, "{cursor:?}");
        }
        assert_eq!(number(&epoch, &format!("{epoch}.99999999999999999999")), None);
    }
}
