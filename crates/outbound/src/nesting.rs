//! Finds where a JSON object, list or string ends while its bytes arrive, so that nobody has to wait for what follows it.

/// How far an object, list or string has been read. It counts brackets outside of strings and checks nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nesting {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    /// Reads on, up to the end of the value: the number of bytes up to and with its last bracket or quotation mark, or `None`
    /// where it goes on behind `bytes`. The first byte that was ever read has to be the opening one.
    pub fn read(&mut self, bytes: &[u8]) -> Option<usize> {
        for (index, byte) in bytes.iter().enumerate() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => {
                    self.in_string = !self.in_string;
                    if !self.in_string && self.depth == 0 {
                        return Some(index + 1);
                    }
                }
                b'{' | b'[' if !self.in_string => self.depth += 1,
                b'}' | b']' if !self.in_string => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(index + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Whether the bytes so far end inside a string, in which JSON allows no line end.
    pub fn is_in_string(self) -> bool {
        self.in_string
    }

    /// Whether the text is one whole object or list.
    pub fn is_whole(text: &str) -> bool {
        text.starts_with(['{', '[']) && Self::default().read(text.as_bytes()) == Some(text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_with_its_last_bracket_or_quotation_mark() {
        for (text, end) in [
            ("{}", Some(2)),
            ("{} x", Some(2)),
            (r#"{"a":["}",{"b":"\"]}\\"}]}{"#, Some(26)),
            ("[[]", None),
            (r#"{"a":"}"#, None),
            ("{]", Some(2)),
            ("[DONE]", Some(6)),
            (r#""a\"b" x"#, Some(6)),
        ] {
            assert_eq!(Nesting::default().read(text.as_bytes()), end, "{text}");
            let mut nesting = Nesting::default();
            let at = text.bytes().position(|byte| nesting.read(&[byte]).is_some());
            assert_eq!(at.map(|at| at + 1), end, "{text}, byte by byte");
            assert_eq!(Nesting::is_whole(text), end == Some(text.len()) && !text.starts_with('"'), "{text}");
        }
    }
}
