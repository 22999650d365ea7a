//! Stems of Indonesian and English words, and the words that may stand behind a stem.

use std::borrow::Cow;

use frostem::{Algorithm, Stemmer};

/// Longer runs of letters are no words.
const LONGEST_STEMMED: usize = 32;
/// Before the nasal form of a root, which is no stem by itself: mengirim is `0ngirim`.
const NASAL: &str = "0";

/// The stems of a folded word, without their mark: of up to one term for each language, none that is the word itself.
pub fn stems(word: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let (indonesian, english) = if is_stemmed(word) {
        let root = indonesian_root(word);
        let indonesian = match nasal_form(word, &root) {
            Some(form) => Some(Cow::Owned(format!("{NASAL}{form}"))),
            None => Some(root).filter(|root| root != word),
        };
        let english =
            Some(english_stem(word)).filter(|stem| stem != word && Some(stem) != indonesian.as_ref());
        (indonesian, english)
    } else {
        (None, None)
    };
    [indonesian, english].into_iter().flatten()
}

/// The words, itself first, and the stems (without their mark) by which all forms of a folded word are found.
pub fn forms(word: &str) -> (Vec<String>, Vec<String>) {
    let (mut words, mut stems) = (vec![word.to_owned()], Vec::new());
    if !is_stemmed(word) {
        return (words, stems);
    }
    let root = indonesian_root(word);
    let mut roots = match nasal_form(word, &root) {
        Some(form) => {
            let roots = roots_of(&form);
            stems.push(format!("{NASAL}{form}"));
            roots
        }
        None => vec![word.to_owned(), root.into_owned()],
    };
    // The stemmer takes the last letter from pakai, but not from pemakai.
    roots.extend(roots.clone().iter().map(|root| indonesian_root(root).into_owned()));
    stems.extend(roots.iter().filter_map(|root| nasalised(root)).map(|form| format!("{NASAL}{form}")));
    roots.push(english_stem(word).into_owned());
    for root in roots {
        if !words.contains(&root) {
            words.push(root.clone());
        }
        stems.push(root);
    }
    stems.sort_unstable();
    stems.dedup();
    (words, stems)
}

fn is_stemmed(word: &str) -> bool {
    (3..=LONGEST_STEMMED).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn is_vowel(byte: u8) -> bool {
    matches!(byte, b'a' | b'e' | b'i' | b'o' | b'u')
}

/// The stemmer leaves words of fewer than three vowels as they are: seen here first, this costs a tenth.
fn indonesian_root(word: &str) -> Cow<'_, str> {
    if word.bytes().filter(|byte| is_vowel(*byte)).count() < 3 {
        return Cow::Borrowed(word);
    }
    Stemmer::new(Algorithm::Indonesian).stem(word)
}

/// The stemmer takes nothing away but these endings.
fn english_stem(word: &str) -> Cow<'_, str> {
    let changes = matches!(
        word.as_bytes(),
        [.., b'e' | b'l' | b's' | b'y']
            | [.., b'e', b'd']
            | [.., b'e' | b'o', b'r']
            | [.., b'i', b'c']
            | [.., b'n', b't']
            | [.., b'c' | b'g' | b'l' | b't', b'i']
            | [.., b'i', b'n', b'g']
            | [.., b'i', b'o', b'n']
            | [.., b'i', b's', b'm']
    );
    if changes { Stemmer::new(Algorithm::English).stem(word) } else { Cow::Borrowed(word) }
}

/// An active form's root with the nasal that took the place of its first consonant: mengirim and ngirim are `ngirim`,
/// menambahkan is `nambah`, memakai is `makai`, menyimpan is `nyimpan`. What the consonant was, the form does not say;
/// the stemmer takes the nasal away, or puts the likeliest consonant.
fn nasal_form(word: &str, root: &str) -> Option<String> {
    let vowel_first = |text: &str| text.bytes().next().is_some_and(is_vowel);
    if (word.starts_with("ng") || word.starts_with("ny")) && vowel_first(&word[2..]) {
        return Some(root.to_owned());
    }
    let after = word.strip_prefix(['m', 'p'])?.strip_prefix('e')?;
    // `ng` and `ny` before `n`.
    let (nasal, stand_in) = [("ng", ""), ("ny", "s"), ("n", ""), ("m", "p")]
        .into_iter()
        .find(|(nasal, _)| after.strip_prefix(nasal).is_some_and(vowel_first))?;
    let remainder = root.strip_prefix(stand_in)?;
    let fits = root != word && vowel_first(remainder) && after[nasal.len()..].starts_with(remainder);
    fits.then(|| format!("{nasal}{remainder}"))
}

/// The roots that have this nasal form.
fn roots_of(form: &str) -> Vec<String> {
    let (remainder, consonants): (&str, &[&str]) = if let Some(remainder) = form.strip_prefix("ng") {
        (remainder, &["", "k"])
    } else if let Some(remainder) = form.strip_prefix("ny") {
        (remainder, &["s"])
    } else if let Some(remainder) = form.strip_prefix('n') {
        (remainder, &["t", "n"])
    } else {
        (form.strip_prefix('m').unwrap_or(form), &["p", "m"])
    };
    consonants.iter().map(|consonant| format!("{consonant}{remainder}")).collect()
}

/// The nasal form of a root, where it has one that the stemmer does not undo by itself.
fn nasalised(root: &str) -> Option<String> {
    let (first, remainder) = (root.as_bytes().first()?, root.get(1..)?);
    if is_vowel(*first) {
        return Some(format!("ng{root}"));
    }
    let nasal = match first {
        b'k' => "ng",
        b't' | b'n' => "n",
        b'p' | b'm' => "m",
        b's' => "ny",
        _ => return None,
    };
    remainder.bytes().next().is_some_and(is_vowel).then(|| format!("{nasal}{remainder}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(word: &str) -> Vec<Cow<'_, str>> {
        stems(word).collect()
    }

    /// Whether a query for the one finds the other.
    fn finds(query: &str, word: &str) -> bool {
        let (words, known) = forms(query);
        words.iter().any(|form| form == word) || stems(word).any(|stem| known.contains(&stem.into_owned()))
    }

    #[test]
    fn a_word_has_a_stem_for_each_language_where_it_is_another_word() {
        assert_eq!(of("dijalankan"), ["jalan"]);
        assert_eq!(of("lost"), [""; 0]);
        assert_eq!(of("running"), ["run"]);
        assert_eq!(of("conversations"), ["convers"]);
        assert_eq!(of("mengirim"), ["0ngirim"]);
        assert_eq!(of("kartu"), [""; 0]);
        for none in ["", "di", "a4s", "élan", "日本", &"kan".repeat(20)] {
            assert_eq!(of(none), [""; 0], "{none}");
        }
    }

    #[test]
    fn forms_of_an_indonesian_word_find_each_other() {
        for family in [
            &["kirim", "mengirim", "dikirim", "pengirim", "pengiriman", "kiriman", "mengirimkan", "ngirim"][..],
            &["tambah", "menambah", "menambahkan", "ditambah", "tambahan", "penambahan"],
            &["pakai", "memakai", "dipakai"],
            &["pakai", "pemakai", "pemakaian"],
            &["milik", "memiliki", "dimiliki", "pemilik"],
            &["simpan", "menyimpan", "disimpan", "penyimpanan", "nyimpan"],
            &["makan", "memakan", "dimakan", "makanan"],
            &["nanti", "menanti", "dinanti", "menantikan"],
            &["ubah", "mengubah", "diubah", "perubahan"],
            &["hilang", "kehilangan", "menghilangkan"],
            &["jalan", "berjalan", "menjalankan", "dijalankan"],
            &["kerja", "mengerjakan", "pekerjaan", "bekerja"],
        ] {
            for (query, word) in family.iter().flat_map(|query| family.iter().map(move |word| (query, word)))
            {
                assert!(finds(query, word), "{query} finds {word}");
            }
        }
    }

    #[test]
    fn words_that_sound_alike_do_not_find_each_other() {
        for (query, word) in [
            ("parah", "marah"),
            ("paling", "maling"),
            ("pakan", "makanan"),
            ("tanti", "nanti"),
            ("kubah", "ubah"),
            ("tulang", "mengulang"),
        ] {
            assert!(!finds(query, word) && !finds(word, query), "{query}, {word}");
        }
    }

    #[test]
    fn forms_of_an_english_word_find_each_other() {
        for family in [
            &["run", "running", "runs"][..],
            &["card", "cards"],
            &["human", "humans"],
            &["renew", "renewed", "renewal", "renewing", "renews"],
            &["city", "cities"],
        ] {
            for (query, word) in family.iter().flat_map(|query| family.iter().map(move |word| (query, word)))
            {
                assert!(finds(query, word), "{query} finds {word}");
            }
        }
    }
}
