//! Names of fields in bots' JSON, which APIs write differently: `error_msg`, `errorMsg`, `Error-Msg`.

/// More characters than any name that is compared has.
const MAX_CHARS: usize = 40;

/// A name for comparison: in lower case, without `_`, `-` and spaces.
pub fn plain(name: &str) -> String {
    let signs = name.chars().filter(|sign| !matches!(sign, '_' | '-' | ' ')).take(MAX_CHARS);
    signs.map(|sign| sign.to_ascii_lowercase()).collect()
}
