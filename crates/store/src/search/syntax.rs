//! A query in the syntax of each engine. Terms are safe to quote ([`wicara_search`] says why); the ids of bots are made so
//! here.

use wicara_search::{HEAD_MARK, Query, Term, head};

use super::documents::Scope;
use crate::effects::search::{NOTE, bot_word};

/// A query for PostgreSQL, as texts that it casts to `tsquery`.
#[derive(Debug, Clone)]
pub(super) struct Postgres {
    pub terms: String,
    /// What the index alone can tell: phrases as words that are there somewhere.
    pub loose: String,
    /// Follows the word of a bucket.
    pub place: String,
}

impl Postgres {
    pub fn of(query: &Query, scope: &Scope) -> Self {
        let mut place = String::new();
        if let Some(bots) = &scope.bots {
            let bots: Vec<_> = bots.iter().map(|bot| quoted(&format!("b{bot}"))).collect();
            place = format!(" & ({})", bots.join(" | "));
        }
        if !scope.notes {
            place.push_str(&format!(" & !{}", quoted(NOTE)));
        }
        Self { terms: tsquery(query, false), loose: tsquery(query, true), place }
    }
}

fn quoted(lexeme: &str) -> String {
    format!("'{}'", lexeme.replace('\\', "\\\\").replace('\'', "''"))
}

fn tsquery(query: &Query, is_loose: bool) -> String {
    let wanted = query.wanted().iter().map(|term| tsquery_term(term, is_loose));
    // What a document must not have is no reason to leave it out before its words are compared.
    let unwanted = query.unwanted().iter().filter(|term| !is_loose || !is_compared(term));
    let unwanted = unwanted.map(|term| format!("!{}", tsquery_term(term, false)));
    wanted.chain(unwanted).collect::<Vec<_>>().join(" & ")
}

/// Whether the index cannot tell by itself.
fn is_compared(term: &Term) -> bool {
    matches!(term, Term::Phrase { words, .. } if words.len() > 1)
}

fn tsquery_term(term: &Term, is_loose: bool) -> String {
    let (words, operator, prefix) = match term {
        Term::Word(any) => (any, " | ", false),
        Term::Phrase { words, prefix } => (words, if is_loose { " & " } else { " <-> " }, *prefix),
    };
    let last = words.len() - 1;
    let words = words.iter().enumerate().map(|(index, word)| match is_head(word) {
        _ if !prefix || index < last => quoted(word),
        // What a head has no position for is compared by the word.
        true if is_loose || !is_compared(term) => {
            format!("({} | {})", quoted(word), quoted(&head_term(word)))
        }
        _ => format!("{}:*", quoted(word)),
    });
    format!("({})", words.collect::<Vec<_>>().join(operator))
}

/// Whether a prefix is the head of every longer word that begins with it. A longer one is collected from the words that do:
/// these are fewer, and the documents that only have its head may be many.
fn is_head(prefix: &str) -> bool {
    head(prefix) == Some(prefix)
}

fn head_term(head: &str) -> String {
    format!("{HEAD_MARK}{head}")
}

/// A query for FTS5's MATCH.
pub(super) fn fts5(query: &Query, scope: &Scope) -> String {
    let wanted: Vec<_> = query.wanted().iter().map(fts5_term).collect();
    let mut terms = format!("({})", wanted.join(" AND "));
    for term in query.unwanted() {
        terms = format!("({terms} NOT {})", fts5_term(term));
    }
    let mut text = format!("terms : {terms}");
    if let Some(bots) = &scope.bots {
        let bots: Vec<_> = bots.iter().map(|bot| format!("\"{}\"", bot_word(bot))).collect();
        text = format!("({text}) AND (scope : ({}))", bots.join(" OR "));
    }
    if !scope.notes {
        text = format!("({text}) NOT (scope : \"{NOTE}\")");
    }
    text
}

fn fts5_term(term: &Term) -> String {
    match term {
        Term::Word(any) => {
            let any: Vec<_> = any.iter().map(|word| format!("\"{word}\"")).collect();
            format!("({})", any.join(" OR "))
        }
        Term::Phrase { words, prefix: true } if !is_compared(term) && is_head(&words[0]) => {
            format!("(\"{}\" OR \"{}\")", words[0], head_term(&words[0]))
        }
        Term::Phrase { words, prefix } => {
            format!("\"{}\"{}", words.join(" "), if *prefix { " *" } else { "" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(bots: Option<&[&str]>, notes: bool) -> Scope {
        Scope { bots: bots.map(|bots| bots.iter().map(ToString::to_string).collect()), notes }
    }

    #[test]
    fn a_query_is_written_for_each_engine() {
        let query = Query::parse("\"lost card\" pre* -\"bank\" -\"a b\" -surat*").unwrap();
        let scope = scope(Some(&["it's", "b\\c"]), false);
        let postgres = Postgres::of(&query, &scope);
        assert_eq!(
            postgres.terms,
            "('lost' <-> 'card') & (('pre' | '__pre')) & !('bank') & !('a' <-> 'b') & !('surat':*)"
        );
        assert_eq!(postgres.loose, "('lost' & 'card') & (('pre' | '__pre')) & !('bank') & !('surat':*)");
        assert_eq!(postgres.place, " & ('bit''s' | 'bb\\\\c') & !'note'");
        assert_eq!(
            fts5(&query, &scope),
            "((terms : ((((\"lost card\" AND (\"pre\" OR \"__pre\")) NOT \"bank\") NOT \"a b\") NOT \"surat\" *)) \
             AND (scope : (\"b69742773\" OR \"b625c63\"))) NOT (scope : \"note\")"
        );
        let Postgres { terms, loose, .. } =
            Postgres::of(&Query::parse("surat* a-kua* a-surat* 日").unwrap(), &scope);
        assert_eq!(terms, "('surat':*) & ('a' <-> 'kua':*) & ('a' <-> 'surat':*) & (('日' | '__日'))");
        assert_eq!(loose, "('surat':*) & ('a' & ('kua' | '__kua')) & ('a' & 'surat':*) & (('日' | '__日'))");
        // A word is found in any of its forms.
        let word = Query::parse("dikirim").unwrap();
        let scope = Scope { bots: None, notes: true };
        let Postgres { terms, loose, place } = Postgres::of(&word, &scope);
        assert!(terms.starts_with("('dikirim' | ") && terms.contains(" | '_kirim'"), "{terms}");
        assert_eq!((loose, place.as_str()), (terms, ""));
        assert!(fts5(&word, &scope).contains("\"dikirim\" OR "));
    }
}
