//! Writers and readers at once, and what has to hold when they are done.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinHandle;

use super::fleet::Fleet;
use super::readers::{Reader, Seen, THE_END, head};
use super::writers::{Fact, Ledger, Progress, WRITER, Writer};
use crate::support::{PATIENCE, until, within};

/// Writers and readers of a fleet, each with the servers that it goes to.
pub struct History {
    progress: Arc<Progress>,
    writers: Vec<JoinHandle<Ledger>>,
    readers: Vec<JoinHandle<Vec<Seen>>>,
}

impl History {
    /// `writers` and `readers`: how many go to which servers.
    pub async fn begin(fleet: &Fleet, writers: &[(usize, &[usize])], readers: &[(usize, &[usize])]) -> Self {
        let position = head(&fleet.program).await;
        let progress = Arc::<Progress>::default();
        let each = |groups: &[(usize, &[usize])]| {
            let servers =
                groups.iter().flat_map(|(count, servers)| std::iter::repeat_n(servers.to_vec(), *count));
            servers.enumerate().collect::<Vec<_>>()
        };
        let readers = each(readers).into_iter().map(|(number, servers)| {
            tokio::spawn(Reader::new(number, &fleet.program, &fleet.bases, &servers, &position).read())
        });
        let readers = readers.collect();
        let writers = each(writers).into_iter().map(|(number, servers)| {
            let writer = Writer::new(number, &fleet.program, &fleet.bases, &servers, &fleet.conversations);
            tokio::spawn(writer.write(Arc::clone(&progress)))
        });
        Self { writers: writers.collect(), readers, progress }
    }

    /// Waits until so many more changes are acknowledged.
    pub async fn write(&self, changes: usize) {
        let before = self.progress.acknowledged();
        until(PATIENCE, "the writers go on", async || {
            assert!(!self.writers.iter().any(JoinHandle::is_finished), "a writer has failed");
            self.progress.acknowledged() >= before + changes
        })
        .await;
    }

    /// Ends the writers, lets the readers come to the end, and fails unless each has seen what it has to.
    pub async fn end(self, fleet: &Fleet) {
        self.progress.end();
        let mut ledgers = Vec::new();
        for writer in self.writers {
            ledgers.push(within(PATIENCE, "a writer ends", writer).await.unwrap());
        }
        let room = json!({"room": THE_END, "integrationType": "website", "botId": "echo"});
        fleet.program_at(0).post("/api/conversation", room).await.ok();
        let mut order = BTreeMap::new();
        for reader in self.readers {
            let seen = within(PATIENCE, "a reader comes to the end", reader).await.unwrap();
            for Seen { number, fact, .. } in &seen {
                assert_eq!(order.entry(*number).or_insert_with(|| fact.clone()), fact, "event {number}");
            }
            assert_saw_each_once(&ledgers, &seen);
        }
    }
}

/// What was acknowledged is there once, in the order of its writer; what was not is there once or not at all; nothing
/// else is. Events whose content is gone may be left out.
fn assert_saw_each_once(ledgers: &[Ledger], seen: &[Seen]) {
    let gone: HashSet<&str> = seen
        .iter()
        .filter(|seen| seen.fact.kind.ends_with(".deleted"))
        .map(|seen| seen.fact.of.as_str())
        .collect();
    let may_be_left_out = |fact: &Fact| !fact.kind.ends_with(".deleted") && gone.contains(fact.of.as_str());
    let mut owners: HashMap<&str, usize> = HashMap::new();
    for (number, ledger) in ledgers.iter().enumerate() {
        owners.extend(ledger.acknowledged.iter().map(|fact| (fact.of.as_str(), number)));
    }
    let mut unknown_created: HashSet<&str> =
        ledgers.iter().flat_map(|ledger| &ledger.unknown_created).map(String::as_str).collect();
    let mut of_writers = vec![Vec::new(); ledgers.len()];
    for seen in seen {
        match owners.get(seen.fact.of.as_str()) {
            Some(&number) => of_writers[number].push(&seen.fact),
            None => {
                let is_possible = match seen.text.as_deref() {
                    Some(text) => !text.starts_with(WRITER) || unknown_created.remove(text),
                    None => false,
                };
                assert!(is_possible, "no writer made it, or not twice: {seen:?}");
            }
        }
    }
    for (ledger, seen) in ledgers.iter().zip(of_writers) {
        let (left_out, kept): (Vec<_>, Vec<_>) =
            ledger.acknowledged.iter().partition(|fact| may_be_left_out(fact));
        let (of_gone, seen): (Vec<_>, Vec<_>) = seen.into_iter().partition(|fact| may_be_left_out(fact));
        // What is acknowledged is a subsequence of what was seen; the rest is what nobody knows of.
        let (mut seen, mut others) = (seen.into_iter(), of_gone);
        for fact in kept {
            loop {
                match seen.next() {
                    Some(next) if next == fact => break,
                    Some(next) => others.push(next),
                    None => panic!("{fact:?} is missing, or not in its order"),
                }
            }
        }
        others.extend(seen);
        let mut possible: Vec<&Fact> = left_out.into_iter().chain(&ledger.unknown).collect();
        for other in others {
            let place = possible.iter().position(|possible| *possible == other);
            let place = place.unwrap_or_else(|| panic!("seen twice, or never made: {other:?}"));
            possible.swap_remove(place);
        }
    }
}
