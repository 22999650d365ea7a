//! What an answer object shows a reader beside a text. Only what is known to do so counts: fields of other names may be the
//! ids, states and words of a failure.

use serde_json::from_str;
use serde_json::value::RawValue;
use wicara_model::Object;

use crate::failures;
use crate::field_name::plain;

/// Levels of a value that are looked at for anything that is not empty.
const LEVELS: usize = 8;
/// Names of pictures and the like, as [`plain`] returns them; each may have an `s` behind it, or one of [`SOURCES`]. A text
/// there is an address, or the thing itself.
const MEDIA: [&str; 28] = [
    "image",
    "picture",
    "photo",
    "img",
    "gif",
    "sticker",
    "animation",
    "audio",
    "voice",
    "sound",
    "video",
    "media",
    "file",
    "document",
    "attachment",
    "html",
    "markdown",
    "map",
    "latitude",
    "longitude",
    "gambar",
    "foto",
    "suara",
    "berkas",
    "dokumen",
    "lampiran",
    "peta",
    "qrcode",
];
const SOURCES: [&str; 7] = ["url", "uri", "link", "src", "path", "data", "base64"];
/// Names of lists and objects that show something; each may have an `s` behind it.
const STRUCTURES: [&str; 41] = [
    "button",
    "quickreply",
    "quickreplies",
    "reply",
    "replies",
    "option",
    "choice",
    "suggestion",
    "suggestlink",
    "suggestedaction",
    "action",
    "card",
    "adaptivecard",
    "herocard",
    "carousel",
    "gallery",
    "galleries",
    "item",
    "element",
    "product",
    "list",
    "menu",
    "table",
    "chart",
    "form",
    "template",
    "location",
    "venue",
    "contact",
    "custom",
    "richcontent",
    "block",
    "component",
    "embed",
    "widget",
    "interactive",
    "tombol",
    "pilihan",
    "kartu",
    "lokasi",
    "tabel",
];
/// Names that show something where the object says nothing in words. Beside an error's words they are the address that
/// failed, a page about the error, or what was sent.
const AMBIGUOUS: [&str; 7] = ["url", "uri", "link", "href", "permalink", "tautan", "payload"];
/// Names of the place in a program where an error was thrown: what stands beside them is the error's.
const THROWN: [&str; 6] = ["line", "lineno", "stack", "stacktrace", "trace", "traceback"];

/// Whether an object shows anything beside its `text`.
pub fn shows(object: &Object) -> bool {
    let has_words = failures::message(object).is_some();
    if object
        .iter()
        .any(|(name, value)| THROWN.contains(&plain(name).as_str()) && holds(value.as_str(), LEVELS))
    {
        return false;
    }
    object.iter().any(|(name, value)| {
        let (name, value) = (plain(name), value.as_str());
        let one = name.strip_suffix('s').unwrap_or(&name);
        let is_known = |names: &[&str]| names.contains(&name.as_str()) || names.contains(&one);
        let is_media =
            || MEDIA.iter().any(|media| one.strip_prefix(media).is_some_and(|rest| SOURCES.contains(&rest)));
        let is_structure = value.starts_with(['[', '{']);
        let is_shown = is_known(&MEDIA)
            || is_media()
            || is_structure && is_known(&STRUCTURES)
            || !has_words && is_known(&AMBIGUOUS);
        is_shown && !value.starts_with('t') && !is_failure(value) && holds(value, LEVELS)
    })
}

/// Whether a value, or an entry of a list, is the object of a failure.
fn is_failure(value: &str) -> bool {
    let values = from_str::<Vec<&RawValue>>(value)
        .map_or_else(|_| vec![value], |list| list.into_iter().map(RawValue::get).collect());
    let objects = values.into_iter().filter_map(|value| from_str::<Object>(value).ok());
    objects.into_iter().any(|object| failures::names_error(&object))
}

/// Whether anything in a value is not empty.
fn holds(value: &str, levels: usize) -> bool {
    match value.as_bytes().first() {
        None | Some(b'n' | b'f') => false,
        Some(b'"') => !from_str::<String>(value).is_ok_and(|text| text.trim().is_empty()),
        Some(b'{') if levels > 0 => from_str::<Object>(value)
            .is_ok_and(|object| object.iter().any(|(_, value)| holds(value.as_str(), levels - 1))),
        Some(b'[') if levels > 0 => from_str::<Vec<&RawValue>>(value)
            .is_ok_and(|list| list.iter().any(|value| holds(value.get(), levels - 1))),
        _ => value.parse::<f64>() != Ok(0.0),
    }
}
