use std::collections::HashSet;
use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tempfile::TempDir;
use wicara_fuzz::{fuzz, mutated};

use crate::address::Addresses;
use crate::folder::{Format, SourceFile};
use crate::query::AskedWord;
use crate::tests::{GUIDE, ask, ask_after, first_link};
use crate::*;

/// A temporary folder of documents, deleted when it is dropped.
pub(super) struct TestFolder(TempDir);

impl TestFolder {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = folder.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    pub(super) fn settings(&self, link_base: &str) -> Settings {
        let folder = self.0.path().to_str().unwrap().to_owned();
        Settings { folder, link_base: link_base.to_owned(), ..Settings::default() }
    }

    fn bot(&self, link_base: &str) -> Result<Documents, String> {
        Documents::new("office", &self.settings(link_base), GUIDE)
    }

    pub(super) fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        fs::write(self.0.path().join(file), text).unwrap();
    }

    pub(super) fn remove(&self, file: &str) {
        fs::remove_file(self.0.path().join(file)).unwrap();
    }
}

pub(super) async fn text(bot: &Documents, question: &str) -> String {
    ask(bot, question).await["text"].as_str().unwrap().to_owned()
}

fn office() -> TestFolder {
    TestFolder::new(&[
        (
            "id/akta lahir.md",
            "---\nlayout: page\n---\n# Akta kelahiran\n\nUntuk bayi yang baru lahir.\n\n## Syarat pengurusan\n\n\
             Bawa [kartu keluarga](../kk.html#kk) dan <b>surat</b> dari [rumah sakit][rs].\n\n\
             ## Biaya\n\nPengurusan akta ini gratis.\n\n[rs]: https://rs.example.org/surat\n",
        ),
        (
            "kk.html",
            "<html><head><title>Kartu Keluarga</title></head><body><h2 id=kk>Mengganti kartu</h2>\
             <p>Kartu yang hilang diganti dalam 3&nbsp;hari.</p></body></html>",
        ),
        ("jam-buka.txt", "Kantor dibuka Senin sampai Jumat.\n\nPada hari libur kantor tutup."),
        (".git/notes.md", "# Rahasia\n\nTidak dibaca: zebra."),
        ("photo.png", "zebra"),
    ])
}

#[tokio::test]
async fn a_folder_of_markdown_html_and_text_is_answered_from() {
    let folder = office();
    let bot = folder.bot("https://example.org/docs/").unwrap();
    for (question, link, text) in [
        ("Apa syarat akta kelahiran?", "id/akta%20lahir.md#syarat-pengurusan", "dan surat dari"),
        ("berapa biayanya", "id/akta%20lahir.md#biaya", "gratis"),
        ("kartu saya hilang", "kk.html#kk", "diganti dalam 3\u{a0}hari"),
        ("apakah kantor buka hari Senin", "jam-buka.txt", "Senin sampai Jumat"),
    ] {
        let answer = ask(&bot, question).await;
        assert_eq!(first_link(&answer), format!("https://example.org/docs/{link}"), "{question}: {answer}");
        assert!(answer["text"].as_str().unwrap().contains(text), "{question}: {answer}");
    }
    let answer = ask(&bot, "zebra").await;
    let topics = "- [Kartu Keluarga](https://example.org/docs/kk.html)";
    assert!(answer["text"].as_str().unwrap().starts_with("Maaf"), "{answer}");
    assert!(answer["text"].as_str().unwrap().contains(topics), "{answer}");
}

#[tokio::test]
async fn the_links_of_a_passage_lead_where_they_led_in_the_document() {
    let folder = office();
    let answer = ask(&folder.bot("https://example.org/docs").unwrap(), "syarat akta").await;
    let text = answer["text"].as_str().unwrap();
    assert!(text.contains("[kartu keluarga](https://example.org/docs/kk.html#kk)"), "{text}");
    assert!(text.contains("[rumah sakit](https://rs.example.org/surat)"), "{text}");
    assert_eq!(answer["suggest_links"].as_array().unwrap().len(), 3);

    let answer = ask(&folder.bot("").unwrap(), "syarat akta").await;
    assert!(answer["text"].as_str().unwrap().contains("Bawa kartu keluarga dan surat dari [rumah sakit]("));
    let links = serde_json::json!([{"title": "rumah sakit", "url": "https://rs.example.org/surat"}]);
    assert_eq!(answer["suggest_links"], links);
}

#[tokio::test]
async fn word_forms_of_both_languages_meet() {
    let folder = TestFolder::new(&[
        ("a.md", "# Pendaftaran\n\nPermohonan didaftarkan di loket.\n"),
        ("b.md", "# Passports\n\nThe office renews old passports.\n"),
    ]);
    let bot = folder.bot("").unwrap();
    let answer = ask(&bot, "bagaimana mendaftarkan permohonan").await;
    assert!(answer["text"].as_str().unwrap().starts_with("**Pendaftaran**"), "{answer}");
    let answer = ask(&bot, "renewing a passport").await;
    assert!(answer["text"].as_str().unwrap().starts_with("**Passports**"), "{answer}");
}

#[tokio::test]
async fn of_two_passages_the_one_in_the_questions_language_is_shown() {
    let folder = TestFolder::new(&[
        (
            "a.md",
            "# Passport\n\nThe passport fee is what you pay for a passport at the office. Passport, passport!\n",
        ),
        ("b.md", "# Biaya\n\nBiaya untuk passport dan surat yang lain dapat dilihat di kantor.\n"),
    ]);
    let bot = folder.bot("").unwrap();
    let answer = ask(&bot, "bagaimana dengan passport saya").await;
    assert!(answer["text"].as_str().unwrap().starts_with("Mungkin ini:\n\n**Biaya**"), "{answer}");
    let answer = ask(&bot, "how about my passport").await;
    assert!(answer["text"].as_str().unwrap().contains("**Passport**"), "{answer}");
}

#[tokio::test]
async fn a_long_section_is_cut_between_paragraphs() {
    let paragraphs: Vec<_> =
        (0..40).map(|n| format!("Paragraph{n} {}", "says little. ".repeat(20))).collect();
    let long = format!("# Long\n\n{}\n\n```\n{}```\n", paragraphs.join("\n\n"), "code line\n".repeat(5_000));
    let folder = TestFolder::new(&[("long.md", &long)]);
    let bot = folder.bot("").unwrap();
    let mut seen = HashSet::new();
    for n in 0..40 {
        let answer = ask(&bot, &format!("paragraph{n}")).await;
        let text = answer["text"].as_str().unwrap().to_owned();
        assert!(text.contains(&format!("Paragraph{n} ")) && text.len() < 2_500, "{text}");
        seen.insert(text);
    }
    assert!(seen.len() > 3);
    assert!(ask(&bot, "code line").await["text"].as_str().unwrap().len() < 9_000);
}

#[test]
fn a_folder_that_cannot_be_used_is_an_error_that_says_why() {
    let folder = TestFolder::new(&[("x.pdf", "x")]);
    let error = folder.bot("").err().unwrap();
    assert_eq!(
        error,
        format!("{} has no documents (.md, .markdown, .html, .htm, .txt)", folder.0.path().display())
    );

    let missing = folder.0.path().join("missing");
    let settings = Settings { folder: missing.to_str().unwrap().to_owned(), ..Settings::default() };
    let error = Documents::new("office", &settings, GUIDE).err().unwrap();
    assert_eq!(error, format!("{} does not exist", missing.display()));

    let file = folder.0.path().join("x.pdf");
    let settings = Settings { folder: file.to_str().unwrap().to_owned(), ..Settings::default() };
    let error = Documents::new("office", &settings, GUIDE).err().unwrap();
    assert_eq!(error, format!("{} is not a folder", file.display()));

    let folder = TestFolder::new(&[("empty.md", "\n")]);
    assert_eq!(
        folder.bot("").err().unwrap(),
        format!("the documents in {} are empty", folder.0.path().display())
    );

    folder.write("picture.md", b"\x00\x01");
    let error = folder.bot("").err().unwrap();
    assert!(error.ends_with("are empty: picture.md is no text"), "{error}");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_left_out_and_named() {
    let folder = TestFolder::new(&[("good.md", "# Loket\n\nLoket buka pukul 8.\n")]);
    folder.write("big.txt", vec![b'a'; folder::MAX_FILE_BYTES as usize + 1]);
    folder.write("picture.html", b"\x89PNG\x00");
    folder.write("latin.txt", b"Caf\xe9 tutup hari Minggu.");
    let bot = folder.bot("").unwrap();
    assert!(text(&bot, "loket").await.contains("pukul 8"));
    assert!(text(&bot, "kafe café tutup").await.contains("Café tutup"), "Windows-1252 is read");
    let index = bot.index();
    let left_out: Vec<_> =
        index.left_out().iter().map(|file| (file.path.as_str(), file.reason.as_str())).collect();
    let too_large = "is 4194305 bytes; at most 4194304 are allowed";
    assert_eq!(left_out, [("big.txt", too_large), ("picture.html", "is no text")]);
}

#[test]
fn a_folder_beyond_the_limits_is_answered_from_as_far_as_they_allow() {
    let names = ["a.md", "b/c.md", "b/d.md", "e.md"];
    let folder = TestFolder::new(&names.map(|name| (name, "# Eight")));
    let settings = folder.settings("");
    let scan = folder::scan(&settings.folder).unwrap();
    let read = |documents, bytes, wanted: &dyn Fn(&str) -> bool| {
        let files = folder::read(&settings.folder, &scan, folder::Limits { documents, bytes }, wanted);
        let kept: Vec<_> = files.documents.into_iter().map(|file| file.path).collect();
        let left_out: Vec<_> =
            files.left_out.into_iter().map(|file| format!("{} {}", file.path, file.reason)).collect();
        (kept, left_out)
    };
    let all = &|_: &str| true;
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(read(4, 28, all), (owned(&names), Vec::new()));
    assert_eq!(
        read(2, 28, all),
        (
            owned(&names[..2]),
            owned(&["b/d.md and all after it by path, 2 documents, are beyond the limit of 2 documents"])
        )
    );
    assert_eq!(
        read(4, 27, all),
        (owned(&names[..3]), owned(&["e.md is beyond the limit of 27 bytes for all documents"]))
    );
    // What the operator leaves out takes no place.
    assert_eq!(read(2, 14, &|path| !path.starts_with("b/")), (owned(&["a.md", "e.md"]), Vec::new()));
}

#[test]
fn what_is_beyond_the_limit_of_documents_is_listed_once() {
    let folder = TestFolder::new(&[]);
    for number in 10_000..20_003 {
        folder.write(&format!("{number}.txt"), "x");
    }
    let left_out = left_out(&folder.settings("")).unwrap();
    let reason = "and all after it by path, 3 documents, are beyond the limit of 10000 documents";
    assert_eq!(left_out, [LeftOut { path: "20000.txt".to_owned(), reason: reason.to_owned() }]);
}

#[tokio::test]
async fn files_and_folders_are_weighted_and_left_out() {
    let folder = TestFolder::new(&[
        ("guide/start.md", "# Start\n\n## Server\n\nHow the server starts.\n"),
        ("api/server.md", "# API\n\n## Server\n\nThe server, the server.\n"),
        ("old.md", "# Old\n\nA zeppelin.\n"),
    ]);
    let weights = |weights: &[(&str, f32)]| {
        let weights = weights.iter().map(|(path, weight)| ((*path).to_owned(), *weight)).collect();
        let settings = Settings { weights, ..folder.settings("https://example.org") };
        Documents::new("office", &settings, GUIDE).unwrap()
    };
    let first = async |bot: &Documents| first_link(&ask(bot, "the server").await).to_owned();
    assert_eq!(first(&weights(&[("api/", 0.2)])).await, "https://example.org/guide/start.md#server");
    assert_eq!(first(&weights(&[("guide", 0.2)])).await, "https://example.org/api/server.md#server");
    assert_eq!(
        first(&weights(&[("api", 0.0), ("guide/start.md", 0.2)])).await,
        "https://example.org/guide/start.md#server"
    );
    assert!(text(&weights(&[]), "zeppelin").await.contains("A zeppelin"));
    assert!(text(&weights(&[("old.md", 0.0)]), "zeppelin").await.starts_with("I found nothing"));
}

#[tokio::test]
async fn the_operators_words_lines_and_addresses_are_used() {
    let folder = TestFolder::new(&[
        ("a.md", "# Okapi\n\nOkapi itu tidur.\n"),
        ("b.md", "# Kucing\n\nKucing itu makan ikan di rumah.\n"),
        ("words.txt", "# kata\nunikorn = okapi\n"),
    ]);
    let settings = Settings {
        synonyms: "words.txt".to_owned(),
        fallback: "Telepon 112.".to_owned(),
        link_suffix: Some(".html".to_owned()),
        ..folder.settings("https://example.org")
    };
    let bot = Documents::new("office", &settings, GUIDE).unwrap();
    let answer = ask(&bot, "unikorn").await;
    assert_eq!(first_link(&answer), "https://example.org/a.html#okapi", "{answer}");
    for (question, has_fallback) in [("di mana zeppelin", true), ("okapi", false), ("makasih", false)] {
        let text = text(&bot, question).await;
        assert_eq!(text.ends_with("\n\nTelepon 112."), has_fallback, "{question}: {text}");
    }
    assert!(!text(&bot, "kata").await.contains("unikorn"), "the words are no document");

    folder.write("words.txt", "unikorn\n");
    let left_out = Documents::new("office", &settings, GUIDE).unwrap().index().left_out().to_vec();
    assert_eq!(left_out[0].path, "words.txt");
    assert!(left_out[0].reason.contains("line 1"), "{left_out:?}");
}

#[tokio::test]
async fn a_heading_without_text_names_those_below_it() {
    let folder = TestFolder::new(&[(
        "login.md",
        "# Login\n\nHow to log in.\n\n## LDAP\n\n### Servers\n\nName them.\n\n### Groups\n\nMap them.\n\n## Empty\n",
    )]);
    let answer = text(&folder.bot("https://example.org").unwrap(), "LDAP").await;
    let expected = "**Login › LDAP**\n\n- [Servers](https://example.org/login.md#servers)\n\
                    - [Groups](https://example.org/login.md#groups)";
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn amounts_letters_and_front_matter_are_read_as_people_mean_them() {
    let folder = TestFolder::new(&[
        (
            "parkir.md",
            "+++\ntitle = \"Parkir\"\nlayout = \"rahasia\"\n+++\n\n## Tarif\n\nBiaya parkir Rp10.000&nbsp;sehari.\n",
        ),
        ("berkas.md", "# Berkas\n\n## Ukuran\n\nUnggahan paling besar 2 MB.\n"),
        ("kafe.md", "# Kafe\n\n## Re\u{ad}servasi\n\nPesan di cafe\u{301} Me\u{200b}lati.\n"),
    ]);
    let bot = folder.bot("").unwrap();
    for (question, found) in [
        ("parkir rp 10.000", "**Parkir › Tarif**"),
        ("parkir rp10000", "**Parkir › Tarif**"),
        ("unggahan 2mb", "**Berkas › Ukuran**"),
        ("reservasi", "servasi**"),
        ("caf\u{e9} melati", "Pesan di"),
    ] {
        let answer = text(&bot, question).await;
        assert!(answer.contains(found), "{question}: {answer}");
        assert!(!answer.contains("rahasia") && !answer.contains("&nbsp;"), "{answer}");
    }
}

#[tokio::test]
async fn words_in_a_comment_are_found_and_not_shown() {
    let page = "# Akta\n\n## Kutipan\n\n<!-- words: fotokopi legalisir -->\n\nDatang ke loket.\n";
    let folder = TestFolder::new(&[("a.md", page), ("b.md", "# Lain\n\nYang lain.\n")]);
    let answer = text(&folder.bot("").unwrap(), "mau legalisir gimana").await;
    assert_eq!(answer, "**Akta › Kutipan**\n\nDatang ke loket.");
}

#[tokio::test]
async fn the_row_of_a_table_that_answers_is_shown_alone() {
    let rows = [("Senin", "Alun-alun"), ("Selasa", "Pasar"), ("Rabu", "Terminal")];
    let cells: String = rows.iter().map(|(day, place)| format!("<tr><td>{day}<td>{place}")).collect();
    let page = format!("<title>Jadwal</title><h2>Keliling</h2><table><tr><th>Hari<th>Tempat{cells}</table>");
    let folder = TestFolder::new(&[("a.html", &page)]);
    let bot = folder.bot("").unwrap();
    let answer = text(&bot, "keliling hari selasa dimana").await;
    assert_eq!(answer, "**Jadwal › Keliling**\n\n| Hari | Tempat |\n| --- | --- |\n| Selasa | Pasar |");
    assert!(text(&bot, "jadwal keliling").await.contains("Rabu"));
}

#[tokio::test]
async fn a_misspelt_word_finds_what_was_meant_and_a_known_word_only_itself() {
    let folder = TestFolder::new(&[
        ("a.md", "# Passport\n\nThe passport costs 50.\n"),
        ("b.md", "# Passwort\n\nThe passwort is a German word.\n"),
        ("c.md", "# Kartu\n\nKartu keluarga dicetak di kantor.\n"),
    ]);
    let bot = folder.bot("").unwrap();
    for (question, heading) in [
        ("where is my passprot", "**Passport**"),
        ("passwort", "**Passwort**"),
        ("passport", "**Passport**"),
        ("kartunya dicetakin dmn kak", "**Kartu**"),
        ("bagimana mencetak kratu", "**Kartu**"),
    ] {
        let answer = text(&bot, question).await;
        assert!(answer.contains(heading), "{question}: {answer}");
    }
    assert!(text(&bot, "zeppelin").await.starts_with("I found nothing"));
}

#[tokio::test]
async fn a_chat_spelling_that_some_document_has_also_means_the_standard_word() {
    let folder = TestFolder::new(&[
        ("a.md", "# Kartu\n\n## Kartu hilang\n\nLapor ke loket.\n"),
        ("b.md", "# Bot\n\n## Bahasa gaul\n\nDimengerti: ilang, gmn, udh.\n"),
    ]);
    let answer = text(&folder.bot("").unwrap(), "kartu ilang gmn").await;
    assert!(answer.starts_with("**Kartu › Kartu hilang**"), "{answer}");
}

#[tokio::test]
async fn of_a_heading_all_but_what_stands_in_brackets_has_to_fit() {
    let folder = TestFolder::new(&[
        ("a.md", "# A\n\n## How to move (carry) apples to pears (fruit)\n\nPears lie above.\n"),
        ("b.md", "# B\n\n## Apples or pears (fruit)?\n\nBoth are good.\n"),
    ]);
    let answer = text(&folder.bot("").unwrap(), "when should I use apples instead of pears").await;
    assert!(answer.contains("**B › Apples or pears"), "{answer}");
}

#[tokio::test]
async fn words_that_only_meet_in_a_text_make_no_sure_answer_where_another_is_near() {
    let folder = TestFolder::new(&[
        (
            "a.md",
            "# Data\n\n## Erasing\n\n<!-- words: right to be forgotten, user -->\n\nRows in Postgres too.\n",
        ),
        ("b.md", "# Database\n\n## User\n\nPostgres needs a user.\n"),
        ("c.md", "# Other\n\nSomething else.\n"),
    ]);
    let bot = folder.bot("").unwrap();
    let answer = text(&bot, "postgres user needs which rights").await;
    assert!(answer.starts_with("Perhaps this:"), "{answer}");
    assert!(text(&bot, "erasing data").await.starts_with("**Data › Erasing**"));
}

#[tokio::test]
async fn a_section_that_is_named_like_the_question_answers_it_however_common_its_words_are() {
    let about = "Kartu is a service of the town, for all who live in it and who come to it. ".repeat(5);
    let about = format!("# What is Kartu?\n\n{about}\n\n## Price\n\nKartu is free.\n");
    let folder = TestFolder::new(&[
        ("a.md", about.as_str()),
        (
            "b.md",
            "# Kartu on a phone\n\nKartu works there too.\n\n## How to begin? (start)\n\nAsk for Kartu.\n",
        ),
        ("c.md", "# Kartu and others\n\nKartu again.\n\n## How to end?\n\nAll have Kartu.\n"),
        ("d.md", "# Lost things\n\nKartu is one.\n\n## How to end?\n\nAsk, with your Kartu.\n"),
    ]);
    let bot = folder.bot("").unwrap();
    for (question, section) in [
        ("what is kartu", "**What is Kartu?**"),
        ("How to begin?", "**Kartu on a phone › How to begin? (start)**"),
        // Two sections are named like the first, and the second has a word more.
        ("How to end?", "Perhaps this:"),
        ("what is your kartu", "Perhaps this:"),
    ] {
        let answer = text(&bot, question).await;
        assert!(answer.starts_with(section), "{question}: {answer}");
    }
}

#[tokio::test]
async fn the_code_in_a_heading_outweighs_words_of_a_text() {
    let folder = TestFolder::new(&[
        ("a.md", "# Errors\n\n## Error 429\n\nToo many came at once.\n\n## Error 503\n\nIt is busy.\n"),
        ("b.md", "# Streams\n\n## Number\n\nBeyond 50 of an office the people get 429.\n"),
        ("c.md", "# Folder\n\n## Weights\n\nThe office has people, people, people.\n"),
        ("d.md", "# Places\n\nThe office and its people.\n"),
    ]);
    let answer = text(&folder.bot("").unwrap(), "429 for people in one office").await;
    assert!(answer.contains("**Errors › Error 429**"), "{answer}");
}

#[tokio::test]
async fn a_sure_answer_has_and_names_most_of_what_is_asked() {
    let folder = TestFolder::new(&[
        ("a.md", "# Mangle\n\n## Installing\n\nOn Ubuntu with its package, on other systems from source.\n"),
        ("b.md", "# Databases\n\n## Kinds\n\nMySQL and others can be used.\n"),
        ("c.md", "# Letters\n\n## Writing\n\nLetters are written by hand.\n"),
        ("d.md", "# Hours\n\nThe office is closed, the home office is not.\n"),
        ("e.md", "# Places\n\nAt home, in the office, by the seaside.\n"),
        ("f.md", "# Ways\n\nFrom home to the office.\n"),
    ]);
    let bot = folder.bot("").unwrap();
    for (question, start) in [
        ("installing on ubuntu", "**Mangle › Installing**"),
        ("installing mysql on ubuntu", "Perhaps this:"),
        ("writing letters", "**Letters › Writing**"),
        ("writing letters at home in the office", "Perhaps this:"),
    ] {
        let answer = text(&bot, question).await;
        assert!(answer.starts_with(start), "{question}: {answer}");
    }
}

#[tokio::test]
async fn where_it_is_not_sure_the_best_passage_is_offered_and_others_are_linked_to() {
    let folder = TestFolder::new(&[
        ("a.md", "# Parking\n\nBicycles stand in the yard, cars in the street.\n"),
        ("b.md", "# Yard\n\n## Games\n\nBall games in the yard disturb the bicycles.\n"),
    ]);
    for number in 0..7 {
        folder.write(&format!("{number}.md"), format!("# Menu {number}\n\nSoup and bread.\n"));
    }
    let answer = ask(&folder.bot("https://example.org").unwrap(), "can rusty bicycles be in the yard").await;
    let expected = "Perhaps this:\n\n**Yard › Games**\n\nBall games in the yard disturb the bicycles.";
    assert_eq!(answer["text"], expected);
    let links = serde_json::json!([
        {"title": "Yard › Games", "url": "https://example.org/b.md#games"},
        {"title": "Parking", "url": "https://example.org/a.md#parking"},
    ]);
    assert_eq!(answer["suggest_links"], links);
    let text = text(&folder.bot("").unwrap(), "can rusty bicycles be in the yard").await;
    assert_eq!(text, format!("{expected}\n\nOr:\n\n- Parking"), "without addresses they are named");
}

#[tokio::test]
async fn a_question_that_goes_on_is_understood_with_the_one_before() {
    let folder = TestFolder::new(&[
        (
            "a.md",
            "# Passport\n\n## Fees\n\nA passport costs 50.\n\n## Children\n\nA passport for children costs 10.\n",
        ),
        (
            "b.md",
            "# Library card\n\n## Fees\n\nA card costs 5.\n\n## Children\n\nCards for children are free.\n",
        ),
    ]);
    let bot = folder.bot("https://example.org").unwrap();
    let before = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    for (earlier, question, link) in [
        (before(&["what are the fees of a library card"]), "and for children?", "b.md#children"),
        (before(&["what are the fees of a passport"]), "and for children?", "a.md#children"),
        (
            before(&["what are the fees of a library card", "and for men?"]),
            "and for children?",
            "b.md#children",
        ),
        (before(&["what are the fees of a passport"]), "what are the fees of a library card", "b.md#fees"),
    ] {
        let answer = ask_after(&bot, &earlier, question).await;
        assert_eq!(first_link(&answer), format!("https://example.org/{link}"), "{earlier:?} {question}");
    }
    let answer = ask_after(&bot, &before(&["what are the fees of a passport"]), "and on Mars?").await;
    assert!(answer["text"].as_str().unwrap().starts_with("I found nothing"), "{answer}");
}

#[test]
fn fuzz_of_any_file_gives_passages_with_text() {
    const FRAGMENTS: &[&str] = &[
        "# A\n",
        "## B\n\n",
        "| a | b |\n| --- | --- |\n| c | d |\n",
        "<!-- words: x -->\n\n",
        "{% x %}",
        "{{",
        "}}",
        "!!! note\n    ",
        "```\n",
        "+++\n",
        "---\n",
        "- a\n",
        "&amp;",
        "[!NOTE]",
        "`",
        "\u{feff}",
        "a ",
        "\n\n",
        "import a from 'b'\n",
        "::: tip\n",
        "<table><tr><td>a<td>b<tr><td>c",
        "<p hidden>",
        "\u{e9}",
    ];
    let file = vec(select(FRAGMENTS), 0..30).prop_map(|fragments| fragments.concat());
    fuzz("documents", mutated(file), |bytes| {
        for format in [Format::Markdown, Format::Html, Format::Text] {
            let Some(text) = decoding::text(&bytes, format == Format::Html) else { continue };
            let file = SourceFile { path: "a.md".to_owned(), format, text };
            let page = passages::page(file, None, &Addresses::new("https://example.org"));
            for passage in page.passages {
                assert!(!passage.markdown.is_empty());
                let _ = tables::with_answering_rows(&passage.markdown, &[AskedWord::of("a")]);
            }
        }
        if let Some(text) = decoding::text(&bytes, false) {
            let _ = synonyms::Synonyms::read(&text);
        }
    });
}
