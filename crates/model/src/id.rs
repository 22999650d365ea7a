//! Ids: 64-bit integers that the database assigns.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A client's id is not `[0-9]{1,19}` up to 2^63−1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl From<i64> for $name {
            fn from(id: i64) -> Self {
                Self(id)
            }
        }

        impl From<$name> for i64 {
            fn from(id: $name) -> i64 {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = Malformed;

            /// Takes `[0-9]{1,19}` up to 2^63−1: no sign, no space, no exponent.
            fn from_str(text: &str) -> Result<Self, Malformed> {
                let digits = (1..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
                if !digits {
                    return Err(Malformed);
                }
                text.parse().map(Self).map_err(|_| Malformed)
            }
        }
    )*};
}

ids! {
    /// A conversation's number, never 0.
    ConversationId;
    /// A message's number, never 0. Ids increase within a conversation.
    MessageId;
    /// A person's number.
    UserId;
    /// An API key's number. The key itself is a secret and no id.
    KeyId;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_digits_up_to_the_largest_bigint() {
        for (text, id) in [("0", 0), ("5", 5), ("007", 7), ("9223372036854775807", i64::MAX)] {
            assert_eq!(text.parse(), Ok(MessageId(id)), "{text}");
        }
        for text in
            ["", "-1", "+1", "1.5", "1e3", "1abc", " 1", "9223372036854775808", "00000000000000000001", "٣"]
        {
            assert_eq!(text.parse::<MessageId>(), Err(Malformed), "{text}");
        }
    }
}
