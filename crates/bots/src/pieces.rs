//! A text that comes as JSON strings in several pieces: a surrogate pair may be cut in two, so that neither piece is a text
//! by itself.

use wicara_model::{Json, interoperable};

/// Joins the pieces of one text. They have to come from [`Json::joinable`].
#[derive(Debug, Default)]
pub struct Pieces {
    /// The escape of the half surrogate pair at the end of the last piece.
    half: String,
}

impl Pieces {
    /// The text of the next piece, as far as it is complete; `None` where the value is no string.
    pub fn next(&mut self, piece: &str) -> Option<String> {
        let inner = piece.strip_prefix('"')?.strip_suffix('"')?;
        if inner.is_empty() {
            return Some(String::new());
        }
        let mut joined = format!("\"{}{inner}", self.half);
        self.half.clear();
        if interoperable::ends_with_half(&joined) {
            self.half = joined.split_off(joined.len() - 6);
        }
        joined.push('"');
        Json::decodable(&joined).ok()?.string()
    }

    /// What stands for a half that stayed alone; empty where there is none.
    pub fn end(&self) -> &'static str {
        if self.half.is_empty() { "" } else { "\u{fffd}" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_that_is_cut_in_two_is_one_character() {
        for (pieces, text) in [
            (&[r#""Halo \ud83d""#, r#""\ude0a!""#][..], "Halo 😊!"),
            (&[r#""\uD83D""#, r#""""#, r#""\uDE0A""#], "😊"),
            (&[r#""a\ud83d""#, r#""b""#], "a\u{fffd}b"),
            (&[r#""a\ud83d""#], "a\u{fffd}"),
            (&[r#""\ude0a\ud83d\ud83d""#, r#""\ude0a""#], "\u{fffd}\u{fffd}😊"),
            (&[r#""\\ud83d""#, r#""\\\ud83d""#, r#""\ude0a""#], "\\ud83d\\😊"),
            (&[r#""\ud83d\ude0a""#, r#""\n""#], "😊\n"),
        ] {
            let mut joined = Pieces::default();
            let mut found: String = pieces.iter().map(|piece| joined.next(piece).unwrap()).collect();
            found.push_str(joined.end());
            assert_eq!(found, text, "{pieces:?}");
        }
        assert_eq!(Pieces::default().next("5"), None);
    }
}
