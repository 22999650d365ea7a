use pulldown_cmark::{Event, Tag};
use serde_json::Value;
use uuid::Uuid;
use wicara_guide as guide;
use wicara_guide::markdown::events;
use wicara_model::flow_id;
use wicara_model::{Question, Speaker, Turn};

use crate::*;

pub(super) const GUIDE: &str = "http://127.0.0.1:3333/guide";

pub(super) fn guide_bot() -> Documents {
    Documents::new("guide", &Settings::default(), GUIDE).unwrap()
}

/// The bot's only answer as JSON.
pub(super) async fn ask(bot: &Documents, text: &str) -> Value {
    ask_after(bot, &[], text).await
}

/// The bot's only answer to `text` as JSON, in a conversation where the user wrote `before`.
pub(super) async fn ask_after(bot: &Documents, before: &[String], text: &str) -> Value {
    let turns = before.iter().flat_map(|earlier| {
        let answer = Turn { speaker: Speaker::Assistant, text: "**An answer**".to_owned() };
        [Turn { speaker: Speaker::User, text: earlier.clone() }, answer]
    });
    let question = Question { history: turns.collect(), ..question(text) };
    let answer = bot.index().answer(&question);
    let object: Value = serde_json::from_str(answer.payload.as_ref().unwrap().as_str()).unwrap();
    assert_eq!(object["text"], answer.text);
    object
}

pub(super) fn question(text: &str) -> Question {
    let id = wicara_model::MessageId(1);
    Question { id, session_id: Uuid::nil(), text: text.to_owned(), history: Vec::new() }
}

/// The address of an answer's first link, relative to the guide; empty where it has none.
pub(super) fn first_link(answer: &Value) -> &str {
    let url = answer["suggest_links"][0]["url"].as_str().unwrap_or("");
    url.strip_prefix(GUIDE).unwrap_or(url).trim_start_matches('/')
}

/// All headings of the guide, as page#heading.
pub(super) fn headings() -> Vec<String> {
    let mut headings = Vec::new();
    for page in guide::pages() {
        headings.extend(events(&page.markdown).into_iter().filter_map(|(event, _)| match event {
            Event::Start(Tag::Heading { id, .. }) => id.map(|id| format!("{}#{id}", page.slug)),
            _ => None,
        }));
    }
    headings
}

#[test]
fn the_language_of_every_page_of_the_guide_is_detected() {
    for page in guide::pages() {
        assert_eq!(
            language::detect(&guide::markdown::prose(&page.markdown)),
            Some(page.language),
            "{}",
            page.slug
        );
    }
}

#[tokio::test]
async fn operators_questions_are_answered_from_the_right_page() {
    let bot = guide_bot();
    let headings = headings();
    let mut wrong = Vec::new();
    for (question, expected) in QUESTIONS {
        let answer = ask(&bot, question).await;
        let link = first_link(&answer);
        if !link.starts_with(expected) {
            wrong.push(format!("{question}\n    expected {expected}, found {link:?}"));
            continue;
        }
        assert!(headings.iter().any(|heading| heading == link), "{link}");
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

const QUESTIONS: &[(&str, &str)] = &[
    ("What is Wicara?", "what-is-wicara#what-is-wicara"),
    ("what do I need to install", "what-is-wicara#what-do-i-need"),
    ("can I use telegram", "what-is-wicara#does-wicara-connect"),
    ("what's the default password", "first-start#who-is-the-first"),
    ("how to enable https", "first-start#how-do-i-enable-https"),
    ("bot unavailable", "errors-and-limits#502"),
    ("swagger documentation", "three-apis#where-is-the-api-documentation"),
    ("hand over to a human agent", "handover#how-does-an-operator-take-over"),
    ("CORS error from my website", "asking-questions#can-a-website"),
    ("What file types are supported?", "documents-bots#which-file-types"),
    ("server won't start", "errors-and-limits#why-does-the-server-not-start"),
    ("I forgot the admin password, what now?", "first-start#i-lost"),
    ("how can I change the port it listens on", "first-start#how-do-i-change-the-port"),
    ("Where is my data stored?", "first-start#where-is-the-data"),
    ("How do I ask a question with curl?", "asking-questions#how-do-i-ask-a-question-with-curl"),
    ("how do sessions work, what is session_id for", "asking-questions#how-do-i-continue"),
    ("Is there streaming of answers?", "asking-questions#is-the-answer-streamed"),
    ("How do I add a user?", "people-and-keys#how-do-i-add-a-person-user-add"),
    ("How do I create an API key", "people-and-keys#how-do-i-create-an-api-key"),
    ("what can a viewer do", "people-and-keys#what-may-each-role-do"),
    ("How do I revoke keys?", "people-and-keys#how-do-i-list-or-revoke-keys"),
    ("Which environment variables can I set?", "configuration#how-do-i-set"),
    ("where does the configuration file live", "configuration#where-is-the-configuration-file"),
    ("Bots over HTTP", "http-bots#how-do-i-connect-my-own-bot"),
    ("Bot lewat HTTP", "bot-http#bagaimana-menghubungkan-bot-sendiri"),
    ("How do I add a bot?", "configuration#how-do-i-add-a-bot"),
    ("How do I connect Dify?", "http-bots#how-do-i-connect-dify"),
    ("can I use flowise with it", "http-bots#how-do-i-connect-flowise"),
    ("How can the bot answer from my own documents?", "documents-bots#how-do-i-let"),
    ("How do I back up the SQLite database?", "database#how-do-i-back-up"),
    ("use postgres instead of sqlite", "database#"),
    ("How do I use PostgreSQL?", "database#how-do-i-use-postgresql"),
    ("What happens when the server crashes?", "running#what-happens-if-the-server-crashes"),
    ("Where are the logs?", "running#where-are-the-logs"),
    ("Is there a health check endpoint?", "running#how-do-i-check-the-health"),
    ("How do I stop the server?", "running#how-do-i-stop"),
    ("What is an idempotency key?", "idempotency-keys#"),
    ("why do I get a 503", "errors-and-limits#503"),
    ("How long may a message be? limits", "errors-and-limits#what-are-the-limits"),
    ("What do the exit codes mean?", "commands#what-do-the-exit-codes-mean"),
    ("list of commands", "commands#which-commands"),
    ("Apa itu Wicara?", "apa-itu-wicara#apa-itu-wicara"),
    ("Saya lupa kata sandi admin, bagaimana?", "mulai-pertama#saya-lupa"),
    ("bagaimana cara mengganti port server", "mulai-pertama#bagaimana-mengganti-port"),
    ("Di mana datanya disimpan?", "mulai-pertama#di-mana-data"),
    ("cara memasang wicara", "apa-itu-wicara#apa-yang-dibutuhkan"),
    ("apakah mendukung https", "mulai-pertama#bagaimana-memakai-https"),
    ("hapus pesan", "tiga-api#bagaimana-membaca-menambah-mengubah-dan-menghapus-pesan"),
    ("listrik mati apakah data hilang", "menjalankan-server#apa-yang-terjadi"),
    ("Gimana caranya bertanya pakai curl?", "mengajukan-pertanyaan#bagaimana-bertanya-dengan-curl"),
    ("Bagaimana melanjutkan percakapan?", "mengajukan-pertanyaan#bagaimana-melanjutkan"),
    ("cara menambahkan pengguna baru", "pengguna-dan-kunci#bagaimana-menambah-pengguna"),
    ("Bagaimana cara membuat kunci API?", "pengguna-dan-kunci#bagaimana-membuat-kunci-api"),
    ("peran viewer boleh apa saja?", "pengguna-dan-kunci#apa-yang-boleh"),
    ("Di mana file konfigurasi?", "konfigurasi#di-mana-berkas"),
    ("Bagaimana menghubungkan bot ke Rasa?", "bot-http#bagaimana-menghubungkan-rasa"),
    ("apakah bot bisa menjawab dari dokumen sendiri?", "bot-dokumen#bagaimana-agar-bot"),
    ("Bagaimana cara backup database SQLite?", "basis-data#bagaimana-membuat-cadangan"),
    ("Bagaimana pakai PostgreSQL?", "basis-data#bagaimana-memakai-postgresql"),
    ("Apa yang terjadi kalau server mati mendadak?", "menjalankan-server#apa-yang-terjadi"),
    ("Bagaimana menghentikan server?", "menjalankan-server#bagaimana-menghentikan"),
    ("Di mana saya melihat log?", "menjalankan-server#di-mana-log"),
    ("kenapa dapat error 502", "galat-dan-batas#galat-502"),
    ("Berapa batas panjang pesan?", "galat-dan-batas#apa-saja-batasnya"),
    ("perintah apa saja yang tersedia", "perintah#perintah-apa-saja"),
    ("How do I connect to PostgreSQL?", "database#how-do-i-use-postgresql"),
    ("Does it support Telegram?", "what-is-wicara#does-wicara-connect"),
    ("Can I use several bots?", "configuration#how-do-i-add-a-bot"),
    ("how do i remove a key", "people-and-keys#how-do-i-list-or-revoke-keys"),
    ("how do I delete a user", "people-and-keys#how-do-i-list-or-remove-people"),
    ("What roles are there?", "people-and-keys#what-may-each-role-do"),
    ("How do I use an API key with curl?", "people-and-keys#how-does-a-program-send"),
    ("How do I open it to the network?", "first-start#how-do-other-machines"),
    ("How do I let a website on another domain call the API?", "asking-questions#can-a-website"),
    ("What is the maximum message size?", "errors-and-limits#what-are-the-limits"),
    ("How do I run it behind nginx with https?", "first-start#how-do-i-enable-https"),
    ("How do I change the answer timeout of a bot?", "configuration#how-do-i-change-the-timeout"),
    ("How do I back up?", "database#how-do-i-back-up"),
    ("Does it support PostgreSQL?", "database#sqlite-or-postgresql"),
    ("How do I add a new bot?", "configuration#how-do-i-add-a-bot"),
    ("how to remove a conversation", "three-apis#how-do-i-create-change-and-delete"),
    ("where do I change settings", "configuration#where-is-the-configuration-file"),
    ("can I use it without internet", "what-is-wicara#what-do-i-need"),
    ("apakah bisa tanpa internet", "apa-itu-wicara#apa-yang-dibutuhkan"),
    ("How do I log out?", "people-and-keys#how-do-i-log-in"),
    ("cara menghapus bot", "konfigurasi#apa-yang-terjadi-kalau-bot-dihapus"),
    ("cara membuat bot sendiri", "bot-http#bagaimana-menulis-membuat-bot-sendiri"),
    ("How do I restore a backup?", "database#how-do-i-restore"),
    ("What does error 404 mean?", "errors-and-limits#404"),
    ("Apakah mendukung WhatsApp?", "apa-itu-wicara#apakah-wicara-mendukung"),
    ("Apa arti galat 503?", "galat-dan-batas#galat-503"),
    ("Apa arti galat 404?", "galat-dan-batas#galat-404"),
    ("Cara mengubah batas waktu bot", "konfigurasi#bagaimana-mengubah-batas-waktu"),
    ("Bagaimana membaca percakapan lewat API?", "tiga-api#bagaimana-melihat-daftar-dan-isi-percakapan"),
    ("Cara cadangan database SQLite", "basis-data#bagaimana-membuat-cadangan"),
    ("Bagaimana bot menjawab dari folder dokumen?", "bot-dokumen#bagaimana-agar-bot"),
    ("Berapa ukuran pesan maksimal?", "galat-dan-batas#apa-saja-batasnya"),
    ("Bagaimana menjalankannya di belakang nginx dengan https?", "mulai-pertama#bagaimana-memakai-https"),
    ("Bagaimana cara menambah kunci API?", "pengguna-dan-kunci#bagaimana-membuat-kunci-api"),
    ("bagaimana menghapus kunci", "pengguna-dan-kunci#bagaimana-melihat-atau-mencabut-kunci"),
    ("Bisakah memakai beberapa bot?", "konfigurasi#bagaimana-menambah-bot-kedua"),
    ("Bagaimana terhubung ke PostgreSQL?", "basis-data#bagaimana-memakai-postgresql"),
];

#[tokio::test]
async fn what_the_guide_does_not_know_is_declined_and_its_topics_are_named() {
    let bot = guide_bot();
    for question in [
        "What is the weather in Surabaya today?",
        "How do I bake a chocolate cake?",
        "Who won the world cup in 2018?",
        "How do I deploy on Kubernetes?",
        "What is the price of bitcoin",
        "how do I cancel my flight",
    ] {
        let answer = ask(&bot, question).await;
        let text = answer["text"].as_str().unwrap();
        assert!(text.starts_with("I found nothing about that"), "{question}: {text}");
        assert_eq!(text.matches("\n- [").count(), 5, "{text}");
        assert!(text.contains("](http://127.0.0.1:3333/guide/"), "{text}");
        assert_eq!(answer["suggest_links"], Value::Array(vec![]));
    }
    for question in [
        "Bagaimana cuaca di Surabaya hari ini?",
        "Siapa presiden Indonesia sekarang?",
        "Bagaimana cara mengurus KTP yang hilang?",
        "Berapa harga beras?",
        "di mana kantor pajak terdekat",
    ] {
        let answer = ask(&bot, question).await;
        let text = answer["text"].as_str().unwrap();
        assert!(text.starts_with("Maaf, saya tidak menemukan"), "{question}: {text}");
        assert_eq!(text.matches("\n- [").count(), 5, "{text}");
        let is_indonesian = |page: &&guide::Page| page.language == guide::Language::Indonesian;
        let titles = guide::pages().iter().filter(is_indonesian).map(|page| &page.title);
        assert_eq!(titles.filter(|title| text.contains(&format!("[{title}]"))).count(), 5, "{text}");
    }
}

#[tokio::test]
async fn a_greeting_is_answered_with_what_can_be_asked() {
    let bot = guide_bot();
    for (greeting, start) in [
        ("Hello!", "Hello! I answer from my documents."),
        ("Halo, selamat pagi", "Halo! Saya menjawab dari dokumen"),
        ("siapa namamu", "Saya menjawab dari dokumen"),
        ("what can you do?", "I answer from my documents."),
        ("?!", "I answer from my documents."),
    ] {
        let answer = ask(&bot, greeting).await;
        let text = answer["text"].as_str().unwrap();
        assert!(text.starts_with(start) && text.contains("/guide/"), "{greeting}: {text}");
    }
}

#[tokio::test]
async fn thanks_are_answered_in_kind_and_with_nothing_else() {
    let bot = guide_bot();
    for (thanks, answer) in [
        ("makasih banyak min", "Sama-sama!"),
        ("terima kasih infonya", "Sama-sama!"),
        ("ok thanks", "You are welcome!"),
        ("thanks!", "You are welcome!"),
    ] {
        assert_eq!(ask(&bot, thanks).await["text"], answer, "{thanks}");
    }
    let text = ask(&bot, "thanks! and how do I stop the server?").await["text"].to_string();
    assert!(text.contains("Ctrl-C"), "{text}");
}

#[tokio::test]
async fn an_answer_is_a_whole_answer_object() {
    let answer = ask(&guide_bot(), "How do I write a documents page for the bot?").await;
    let properties = serde_json::json!({
        "source": {"id": "guide", "display_name": "guide", "source": "documents"},
        "icon": "BookOpen", "allow_markdown": true, "state": "complete", "text_color": "", "background_color": ""
    });
    assert_eq!(answer["properties"], properties);
    assert_eq!(answer["category"], "message");
    assert_eq!(answer["flow_id"], flow_id("guide").to_string());
    assert!(answer["id"].as_str().unwrap().parse::<Uuid>().is_ok());
    // The passage itself, then the two nearest others.
    let expected = [
        ("How should I write documents for the bot?", "how-should-i-write-documents-for-the-bot"),
        (
            "Why does the bot not find an answer in my documents, or give a wrong one? (found nothing, not sure)",
            "why-does-the-bot-not-find-an-answer-in-my-documents-or-give-a-wrong-one-found-nothing-not-sure",
        ),
        (
            "How do I let the bot answer from my own documents? (FAQ, knowledge base)",
            "how-do-i-let-the-bot-answer-from-my-own-documents-faq-knowledge-base",
        ),
    ]
    .map(|(heading, fragment)| {
        serde_json::json!({
            "title": format!("Bots that answer from documents › {heading}"),
            "url": format!("{GUIDE}/documents-bots#{fragment}")
        })
    });
    assert_eq!(answer["suggest_links"], serde_json::json!(expected));
    let text = answer["text"].as_str().unwrap();
    assert!(
        text.starts_with(
            "**Bots that answer from documents › How should I write documents for the bot?**\n\nGive"
        ),
        "{text}"
    );
}

#[tokio::test]
async fn a_question_of_any_length_and_content_is_answered() {
    let bot = guide_bot();
    for question in [
        "a ".repeat(32_000),
        "server ".repeat(9_000),
        "(\"*:~^[AND OR NOT]+-".to_owned(),
        "\0".to_owned(),
        "ö".repeat(32_000),
    ] {
        ask(&bot, &question).await;
    }
    let words: Vec<_> = (0..10_000).map(|number| format!("word{number}")).collect();
    let answer = ask(&bot, &words.join(" ")).await;
    assert!(answer["text"].as_str().unwrap().starts_with("I found nothing"));
}
