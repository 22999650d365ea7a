use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use wicara_fuzz::{fuzz, mutated};

use super::*;

/// The frames in these chunks, and whether all chunks were parsed.
fn parsed<'a>(max_bytes: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, bool) {
    let mut parser = Parser::new(max_bytes);
    let mut frames = Vec::new();
    let parsed_all = chunks.into_iter().all(|chunk| parser.push(chunk, &mut frames).is_ok())
        && parser.finish(&mut frames).is_ok();
    (frames, parsed_all)
}

fn data(text: &str) -> Vec<String> {
    let (frames, parsed_all) = parsed(1000, [text.as_bytes()]);
    assert!(parsed_all, "{text:?}");
    frames.into_iter().map(|frame| frame.data).collect()
}

#[test]
fn frames_are_read_as_the_standard_has_them() {
    for (text, expected) in [
        ("data: a\n\n", vec!["a"]),
        ("data:a\r\n\r\ndata: b\r\rdata:  c\n\n", vec!["a", "b", " c"]),
        ("data: a\r\ndata: b\rdata: c\r\n\r\n", vec!["a\nb\nc"]),
        ("\u{feff}data: a\n\n", vec!["a"]),
        ("data: a\ndata: b\ndata\ndata:c\n\n", vec!["a\nb\n\nc"]),
        (": comment\nid: 7\nretry: 10\ndata: a\nother: x\nno colon\n\n", vec!["a"]),
        ("data: a: b\n\n", vec!["a: b"]),
        ("data: a\n{\"b\":1}\n\n", vec!["a", "{\"b\":1}"]),
        ("id: 1\n\n: comment\n\ndata:\n\nevent: x\n\n\n\n", vec![]),
        ("data: cut off\n", vec!["cut off"]),
        ("data: cut off", vec!["cut off"]),
        ("", vec![]),
    ] {
        assert_eq!(data(text), expected, "{text:?}");
    }
    let named = "event: a\ndata: 1\n\ndata: 2\n\nevent: lost\n\ndata: 3\n\n";
    let names: Vec<_> = parsed(1000, [named.as_bytes()]).0.into_iter().map(|frame| frame.event).collect();
    assert_eq!(names, ["a", "", ""]);
}

#[test]
fn a_bare_object_ends_with_its_last_bracket() {
    for (text, expected) in [
        ("{\"a\":1}\n\n{\"b\":2}\r\n\r\n", vec!["{\"a\":1}", "{\"b\":2}"]),
        ("{\"a\":1}\n{\"b\":\"}\"} {\"c\":3}{}", vec!["{\"a\":1}", "{\"b\":\"}\"}", "{\"c\":3}", "{}"]),
        ("{\n  \"a\": 1,\n\ndata: 5\n}\n\n", vec!["{\n  \"a\": 1,\n\ndata: 5\n}"]),
        ("{\"a\":1}\n\ndata: {\"b\":2}\n\n{}\n\n", vec!["{\"a\":1}", "{\"b\":2}", "{}"]),
        (" \n \u{feff} {\"a\":1}", vec!["{\"a\":1}"]),
        ("<html>{}</html>\n\n [1]\n\n", vec![]),
        // Cut off, in a string or outside of one, with whole objects behind it.
        ("{\"a\": \"cut\n{\"b\":1}\n", vec!["{\"a\": \"cut", "{\"b\":1}"]),
        ("{\"a\": [\n\n{\"b\":1}\n\n{\"c\":2}", vec!["{\"a\": [", "{\"b\":1}", "{\"c\":2}"]),
        ("{\"a\": [\n{\"b\":1}\n{\"c\":2}", vec!["{\"b\":1}", "{\"c\":2}"]),
        ("{\"cut\": \"off", vec!["{\"cut\": \"off"]),
    ] {
        assert_eq!(data(text), expected, "{text:?}");
    }
}

#[test]
fn an_event_needs_no_blank_line_where_its_data_says_where_it_ends() {
    for (text, expected) in [
        ("data: {\"a\":1}\ndata: {\"b\":2}\ndata: [DONE]\n", vec!["{\"a\":1}", "{\"b\":2}", "[DONE]"]),
        ("data: ping\ndata: {\"a\":1}\n\n", vec!["ping", "{\"a\":1}"]),
        ("data: {\ndata: \"a\": 1\ndata: }\n\n", vec!["{\n \"a\": 1\n }"]),
        ("data: {\ndata: {\"a\":1}\n\ndata: {\"b\":2}", vec!["{\"a\":1}", "{\"b\":2}"]),
        ("data: {\"a\":\"cut\ndata: {\"b\":2}\n\n", vec!["{\"a\":\"cut", "{\"b\":2}"]),
        ("data: {\"a\":1}{\"b\":2}, x\n\n", vec!["{\"a\":1}", "{\"b\":2}", "x"]),
        ("data: [ERROR] away\n\n", vec!["[ERROR] away"]),
    ] {
        assert_eq!(data(text), expected, "{text:?}");
    }
    // It is complete before the line ends.
    for (text, expected) in
        [("data: {\"a\":1}", "{\"a\":1}"), ("data: [DONE]", "[DONE]"), ("{\"a\":{}}", "{\"a\":{}}")]
    {
        let mut frames = Vec::new();
        Parser::new(100).push(text.as_bytes(), &mut frames).unwrap();
        assert_eq!(
            frames,
            [Frame { event: String::new(), data: expected.to_owned(), is_bare: text.starts_with('{') }]
        );
    }
    let late = "data: {\"a\":1}\nevent: error\n\ndata: {\"b\":2}\nevent: b\ndata: {\"c\":3}\n\n";
    let frames = parsed(1000, [late.as_bytes()]).0;
    let frames: Vec<_> = frames.iter().map(|frame| (frame.event.as_str(), frame.data.as_str())).collect();
    assert_eq!(frames, [("", "{\"a\":1}"), ("error", ""), ("", "{\"b\":2}"), ("b", "{\"c\":3}")]);
}

#[test]
fn a_body_that_is_no_stream_is_shown_from_its_beginning() {
    let end = |chunks: Vec<String>| {
        let chunks = stream::iter(chunks.into_iter().map(|chunk| Ok(Bytes::from(chunk))));
        futures_util::FutureExt::now_or_never(frames(chunks, 20_000).collect::<Vec<_>>()).unwrap()
    };
    let long = "halo ".repeat(1000);
    for (chunks, expected) in [
        (vec!["Halo ", "dunia\n\nlagi"], "Halo dunia\n\nlagi"),
        (vec![" \n\u{feff}", "data yang dicari: tidak ada"], "data yang dicari: tidak ada"),
        (vec!["[1]"], "[1]"),
        (vec!["\"Halo\""], "\"Halo\""),
        (vec!["Halo", "", &long, &long], &format!("Halo{long}")[..500]),
    ] {
        let found = end(chunks.iter().map(|chunk| (*chunk).to_owned()).collect());
        let [Err(error @ Error::NoFrames { body })] = &found[..] else { panic!("{chunks:?}: {found:?}") };
        assert_eq!(body.reveal(), expected);
        let logged = format!("{error}{error:?}");
        assert!(!logged.contains("Halo") && !logged.contains("halo"), "{logged}");
    }
    for text in ["", " \n", "\u{feff}", ": ping\n\n", "event: a\n\n", "id\n", "data:\n\n", "retry: 5\n\n"] {
        assert!(end(vec![text.to_owned()]).is_empty(), "{text:?}");
    }
    assert_eq!(end(vec!["data: a\n\nHalo".to_owned()]).len(), 1);
}

const SAMPLE: &str = "\u{feff}: hi\r\n\r\nevent: token\r\ndata: {\"t\":\"caf\u{e9} \u{1f600}\"}\rid: 1\r\rdata: a\n\
                      data: b\r\n\n{\"bare\":\n \"\u{1f600}\"}\n\n\r\n\ndata: [DONE]\n\n";

#[test]
fn where_a_stream_is_cut_makes_no_difference() {
    let sample = SAMPLE.as_bytes();
    let (whole, parsed_all) = parsed(1000, [sample]);
    assert_eq!((whole.len(), parsed_all), (4, true), "{whole:?}");
    for first in 0..=sample.len() {
        for second in first..=sample.len() {
            let chunks = [&sample[..first], &sample[first..second], &sample[second..]];
            assert_eq!(parsed(1000, chunks), (whole.clone(), true), "{first} {second}");
        }
    }
    assert_eq!(parsed(1000, sample.chunks(1)), (whole, true));
}

#[test]
fn what_programs_write_that_make_streams_themselves_is_read() {
    for (text, expected) in [
        ("data: a\n\n\u{feff}data: b\n\n\u{feff}: c\n\n", vec!["a", "b"]),
        ("data: \u{feff}{\"a\":1}\n\ndata:\0 {\"b\":2}\n\n", vec!["{\"a\":1}", "{\"b\":2}"]),
        ("data: data: {\"a\":1}\n\ndata: data:  b\n\n", vec!["{\"a\":1}", " b"]),
        ("data: d\n\ndata: dat\n\ndata: database\n\n", vec!["d", "dat", "database"]),
        ("Data: a\n\nDATA:b\n\ndata  : {\"c\":1}\n\n\0data: d\n\n", vec!["a", "b", "{\"c\":1}", "d"]),
        ("data: {\"a\":1},{\"b\":2}\n\n", vec!["{\"a\":1}", "{\"b\":2}"]),
        ("data: [{\"a\":1}, {\"b\":2}]\n\ndata: [1]\n\n", vec!["{\"a\":1}", "{\"b\":2}", "[1]"]),
        ("[{\"a\":1},\n{\"b\":2},\n {\"c\":3}]", vec!["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]),
        ("[ {\"a\":1}]\n[DONE]\n", vec!["{\"a\":1}", "[DONE]"]),
        ("data: caf\u{e9}\n\n", vec!["caf\u{e9}"]),
    ] {
        assert_eq!(data(text), expected, "{text:?}");
    }
    let frames = parsed(100, [b": \xff\nid: \xff\nEvent : \xe9\ndata: {\"a\":\"caf\xe9\"}\n\n".as_slice()]).0;
    assert_eq!(
        frames,
        [Frame { event: "\u{e9}".to_owned(), data: "{\"a\":\"caf\u{e9}\"}".to_owned(), is_bare: false }]
    );
}

#[test]
fn a_string_may_hold_a_line_end() {
    for (text, expected) in [
        ("data: {\"a\":\"x\ny\"}\n\ndata: b\n\n", vec!["{\"a\":\"x\ny\"}", "b"]),
        ("data: {\"a\":\"x\r\n  - y\rda\n\"}\n", vec!["{\"a\":\"x\n  - y\nda\n\"}"]),
        ("data: {\"a\":\"x\ndata:  y\ndata: \ndata: z\"}\n\n", vec!["{\"a\":\"x\n y\n\nz\"}"]),
        (
            "{\"a\":\"x\ny\",\n\"b\":1}{\"c\":\"\nid\"}",
            vec!["{\"a\":\"x\ny\",\n\"b\":1}", "{\"c\":\"\nid\"}"],
        ),
        // What begins something of its own.
        ("data: {\"a\":\"x\nid: 1\ndata: b\n\n", vec!["{\"a\":\"x", "b"]),
        ("data: {\"a\":\"x\n: c\ndata: [DONE]\n\n", vec!["{\"a\":\"x", "[DONE]"]),
        ("data: {\"a\":\"x\n\ny\"}\n\ndata: b\n\n", vec!["{\"a\":\"x", "b"]),
    ] {
        assert_eq!(data(text), expected, "{text:?}");
    }
}

#[test]
fn what_is_too_large_is_an_error_after_the_frames_before_it() {
    let large = format!("data: {}\n\n", "x".repeat(20));
    let lines = "data: 12345678\n".repeat(3) + "\n";
    let object = format!("data: {{\"a\":\"{}\"}}\n\n", "x".repeat(13));
    for wrong in [large.as_bytes(), lines.as_bytes(), object.as_bytes()] {
        let stream = [b"data: a\n\n", wrong].concat();
        let (frames, parsed_all) = parsed(20, [stream.as_slice()]);
        assert_eq!((frames.len(), parsed_all), (1, false), "{stream:?}");
        assert_eq!(parsed(20, stream.chunks(1)), (frames, false), "{stream:?}");
    }
    // Comments are not kept.
    let comment = format!(":{}\ndata: a\n\n", "x".repeat(5000));
    assert_eq!(parsed(2000, [comment.as_bytes()]).0.len(), 1);
    let exactly = format!("data: {}\n\n", "x".repeat(14)).repeat(100);
    assert_eq!(parsed(20, [exactly.as_bytes()]).0.len(), 100);
}

#[test]
fn fuzz_frames_are_the_same_however_they_come() {
    let line = "(data|event|id|retry|)( ?:{0,2} ?)[a-z{}\"\u{e9}\u{1f600}]{0,4}|(data: )?\\{\"[a-z]\":1\\}|data: \\[DONE\\]|";
    let stream = vec((line, select(&["\n", "\r", "\r\n"])), 0..12)
        .prop_map(|lines| lines.into_iter().map(|(line, end)| line + end).collect::<String>());
    fuzz("frames", (mutated(stream), vec(1..9usize, 1..20)), |(bytes, sizes)| {
        let mut chunks = Vec::new();
        let (mut rest, mut sizes) = (bytes.as_slice(), sizes.into_iter().cycle());
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        let whole = parsed(40, [bytes.as_slice()]);
        assert_eq!(parsed(40, chunks), whole);
        assert!(whole.0.iter().all(|frame| frame.data.chars().count() <= 40));
        assert!(whole.0.iter().all(|frame| !frame.data.is_empty() || !frame.event.is_empty()));
    });
}
