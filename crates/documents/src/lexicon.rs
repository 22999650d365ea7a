//! Word lists that do not depend on the documents: stop words, small talk, the words of follow-up questions.

use std::collections::HashSet;
use std::sync::LazyLock;

pub type WordSet = LazyLock<HashSet<&'static str>>;

macro_rules! word_set {
    ($($line:literal)+) => {
        LazyLock::new(|| [$($line),+].into_iter().flat_map(str::split_whitespace).collect())
    };
}

/// English stop words: they say nothing about the subject of a question.
pub static ENGLISH_STOP_WORDS: WordSet = word_set! {
    "a about again all also am an and any anybody anyone anything are arent as ask at available be been before"
    "being between but by bye can cannot cant compared could couldnt d did didn didnt difference differences"
    "different do does doesn doesnt doing don done dont else ever explain find finding for from get gets"
    "getting give go goes going good got had happen happened happening happens has have havent having hello"
    "help here hey hi how hows i if im in instead into is isn isnt it its ive just kind know let like live ll"
    "located look m many may me mean means might morning much must my name need needed needs no not now of ok"
    "okay on one ones only or other others our ours please pls plz possible re s say see shall should show so"
    "some somebody someone something still such sure t tell than thank thanks that thats the their them then"
    "there theres these they thing things this those thx time to too u up us use used using ve very want wanted"
    "wants was way we were what whats when where wheres whether which while who whom whos whose why will with"
    "without won wont would yes yet you your youre yours"
    "actually after already although always anymore anyway bit both during each either every few further gonna however"
    "just kinda less lot lots maybe more most never often ourselves over perhaps quite rather really same since"
    "somehow sometimes somewhere stuff though through under until wanna whenever wherever within yourself"
};

/// Indonesian stop words, with the spellings of chat language.
pub static INDONESIAN_STOP_WORDS: WordSet = word_set! {
    "ada adakah adalah agar aja ajah akan aku anda antara apa apaan apabila apakah apanya apasih arti artinya"
    "assalamualaikum atau ato ayo bagaimana bagaimanakah bagi bahwa baik bang banget banyak beberapa beda"
    "bedanya begini begitu belum bener berapa bgmana bgmn bgt biar bila bisa bisakah blm boleh bolehkah brp buat"
    "bukan cara caranya coba cuma dalam dan dapat dapatkah dapet dari deh dengan dgn di dia dimana ditaruh dmn"
    "dong donk dr dulu emang engga enggak ga gaes gak gan gimana gimanakah gini gitu gk gmn gmna guys hai hallo"
    "halo hanya hari harus haruskah hingga ia ialah ingin ini itu jadi jangan jd jelaskan jg jika juga kah kak"
    "kakak kalau kalo kami kamu kan kapan karena karna kasih kayak ke kemana kena kenapa kepada ketika kira kita klo"
    "kmn knp kok koq krn lagi lah lain lalu lebih lewat lg lho liat lihat loh maka makasih malam mana mas mau"
    "mbak melalui melihat mengapa mereka min misalnya mksh mohon monggo mungkin nah nama namamu namun nanti"
    "naruh ndak ngga nggak nih nya oke oleh om pada pagi pak pakai pake paling para pas per perbedaan perlu"
    "permisi pernah pula pun punya saat saja salam sama sambil sampai sampe sangat satu saya sdh se sebagai"
    "sebelum sebuah sedang sehingga sekarang selamat semua seperti serta sesuatu sesudah setelah setiap sgt"
    "siang siapa siapakah sih skrg sore suatu sudah sudahkah supaya tadi tanpa tanya tapi taruh tau tdk tentang"
    "terhadap terima terimakasih terjadi tersebut tersedia terus tetapi thd tiap tidak tlg tolong tp trims trus"
    "tuh uda udah untuk utk wah wkwk ya yaa yah yaitu yang yg yuk"
    "agak akhirnya amat beliau benar beneran berapakah betul cukup dll dsb gara hampir harusnya ikut justru kadang katanya"
    "kayaknya kebetulan kepengen kini lumayan maaf makanya malah malahan masih mereka meski meskipun misal nyatanya pasti"
    "pengen pengin pingin padahal saling sampai sebab sedikit sekali sekalian sekedar selalu selama seluruh semoga semua"
    "sempat sendiri sepertinya sering seringkali seseorang siapapun soalnya sungguh tadinya tahu tanyakan tentu ternyata"
    "terlalu walau walaupun butuh membutuhkan dibutuhkan diperlukan memerlukan"
    // Javanese, as it is mixed with Indonesian.
    "aja ana arep awakmu badhe banjur bae bakal bener dadi dening dhateng durung iki iku ing isih iso isoh iya kae"
    "kaliyan kanggo karo kene kepiye kepriye kok kono kowe kudu kula kuwi lek maneh mboten mbuh menawa menyang"
    "mugi nang nanging ndak ndi nduwe neng nek ning niki niku nggih nggo nggon nyuwun ono opo ora panjenengan"
    "pinten piro piye pripun punapa saged saiki sampeyan sapa saka sakniki seng sesuk sing sinten sopo tak tekan tulung"
    "wae wes wingi wis wonten yen"
};

/// Whether a word is a stop word of either language.
#[must_use]
pub fn is_stop_word(word: &str) -> bool {
    ENGLISH_STOP_WORDS.contains(word) || INDONESIAN_STOP_WORDS.contains(word)
}

pub static GREETINGS: WordSet = word_set! {
    "assalamualaikum hai halo hallo hello hey hi howdy malam morning pagi permisi salam siang sore"
};

pub static THANKS: WordSet = word_set! { "kasih makasih mksh terimakasih thank thanks thx trims" };

/// First words of a follow-up question, if it is short: "and on Windows?", "kalau di PostgreSQL?".
pub static FOLLOW_UP_FIRST_WORDS: WordSet = word_set! {
    "also and but for from if in on or so then with without"
    "atau dan dari dengan di kalau kalo klo lalu pada pake pakai tapi terus trus untuk"
};

/// Second words of a follow-up question, after a question word: "what about Windows?", "gimana kalau di Windows?".
pub static FOLLOW_UP_SECOND_WORDS: WordSet = word_set! { "about if dengan kalau kalo klo" };

/// Pronouns and other words that refer to an earlier message.
pub static REFERRING_WORDS: WordSet =
    word_set! { "he it its one ones she that them these they this those" "itu tersebut tadi" };

/// What a question asks for, by a small word that is no subject: its heading is likely to ask for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedFor {
    Person,
    Time,
    Place,
    Reason,
    Amount,
    /// What tells two things apart.
    Difference,
    /// Something that is not, or does not happen.
    Lack,
}

const ASKED_FOR: [(AskedFor, &[&str]); 7] = [
    (AskedFor::Person, &["who", "whom", "whose", "siapa", "siapakah", "sapa", "sopo", "sinten"]),
    (AskedFor::Time, &["when", "kapan"]),
    (AskedFor::Place, &["where", "dimana", "kemana", "dmn", "kmn", "ndi"]),
    (AskedFor::Reason, &["why", "mengapa", "kenapa", "knp"]),
    (AskedFor::Amount, &["much", "berapa", "brp", "piro", "pinten"]),
    (
        AskedFor::Difference,
        &[
            "difference",
            "differences",
            "different",
            "compare",
            "compared",
            "versus",
            "vs",
            "beda",
            "bedanya",
            "perbedaan",
            "bedane",
        ],
    ),
    (
        AskedFor::Lack,
        &[
            // `t` is what is left of won't, can't and the like.
            "not", "t", "cannot", "cant", "doesnt", "dont", "isnt", "never", "nobody", "without", "wont",
            "belum", "blm", "bukan", "enggak", "ga", "gak", "gk", "mboten", "ndak", "ngga", "nggak", "ora",
            "tanpa", "tdk", "tidak",
        ],
    ),
];

/// Words before `mana` where it asks for a place. Without them it asks which one.
const BEFORE_A_PLACE: [&str; 3] = ["di", "ke", "dari"];

/// What the words of a text ask for.
pub fn asked_for(words: &[String]) -> impl Iterator<Item = AskedFor> {
    let asks = |small_words: &[&str]| words.iter().any(|word| small_words.contains(&word.as_str()));
    let is_place = |pair: &[String]| pair[1] == "mana" && BEFORE_A_PLACE.contains(&pair[0].as_str());
    let asks_for_a_place = words.windows(2).any(is_place);
    let is_asked_for = move |asked_for, small_words: &[&str]| {
        asks(small_words) || (asked_for == AskedFor::Place && asks_for_a_place)
    };
    ASKED_FOR
        .into_iter()
        .filter(move |(asked_for, small_words)| is_asked_for(*asked_for, small_words))
        .map(|(asked_for, _)| asked_for)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::words;

    #[test]
    fn what_a_question_asks_for_is_told_by_its_small_words() {
        for (text, expected) in [
            ("di mana log?", vec![AskedFor::Place]),
            ("API mana yang menjawab?", vec![]),
            ("apa bedanya viewer sama agent", vec![AskedFor::Difference]),
            ("why won't the server start", vec![AskedFor::Reason, AskedFor::Lack]),
            ("berapa biaya kartu", vec![AskedFor::Amount]),
        ] {
            assert_eq!(asked_for(&words(text)).collect::<Vec<_>>(), expected, "{text}");
        }
    }
}
