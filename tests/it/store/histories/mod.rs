//! The same random histories against both engines and a plain model in memory, so that the two implementations of the
//! append (crates/store/src/commands/append.rs and the function of the migrations) say the same.

mod changes;
mod feed;
mod groups;
mod model;
mod search;
mod tables;
mod undone;
mod walks;

use std::sync::Arc;

use wicara_model::{Bots, NewMessage, NewUser, Role, Timestamp};
use wicara_store::{Append, Ask, Error, Outcome, Store, Target};

use super::new_conversation;
use super::together::{ProxiedStore, at_once, in_one_batch, open, past_a_lock};
use crate::support::{
    Database, Dice, Engine, PATIENCE, PostgresProxy, on_both_engines, side_by_side, within,
};
use feed::Follower;
use model::Model;

on_both_engines!(random_histories_end_as_a_model_in_memory_says);

/// The histories of an ordinary run.
const SEEDS: u64 = 6;
/// So many instead, for a long run.
const HISTORIES: &str = "WICARA_HISTORIES";
/// The seed of the first.
const SEED: &str = "WICARA_HISTORY_SEED";
const AT_ONCE: usize = 3;

const ROUNDS: usize = 36;
const COMPARED_EVERY: usize = 4;
const REOPENED_EVERY: usize = 12;
/// Groups of appends are smaller than this; now and then one is larger.
const SMALL: usize = 20;
const LARGE: usize = 150;
/// Messages after which the next few are noted in their conversation's row.
const NEARLY_NOTED: usize = 60;
/// More messages than are deleted at once.
const LONG: usize = 2300;

async fn random_histories_end_as_a_model_in_memory_says(engine: Engine) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a whole number"));
    let first = number(SEED).unwrap_or(0);
    let count = number(HISTORIES).unwrap_or(if number(SEED).is_some() { 1 } else { SEEDS });
    let seeds: Vec<_> = (first..first + count).collect();
    for seeds in seeds.chunks(AT_ONCE) {
        let run = |seed: &u64| {
            let name = format!("{SEED}={seed} on {engine:?}");
            (name, within(PATIENCE * 5, "a history ends", history(engine, *seed)))
        };
        side_by_side(seeds.iter().map(run)).await;
    }
}

struct History {
    store: Arc<Store>,
    database: Database,
    /// Before PostgreSQL.
    proxy: Option<PostgresProxy>,
    model: Model,
    follower: Follower,
    dice: Dice,
    millis: i64,
}

async fn history(engine: Engine, seed: u64) {
    let mut history = History::begin(engine, seed).await;
    for round in 1..=ROUNDS {
        let size = if round % 9 == 0 { LARGE } else { SMALL };
        let size = 1 + history.dice.below(size);
        history.group(size).await;
        for _ in 0..history.dice.below(6) {
            history.change().await;
        }
        if round == ROUNDS / 3 {
            history.long_conversation().await;
        }
        if round % COMPARED_EVERY == 0 {
            history.compare().await;
        }
        if round % REOPENED_EVERY == 0 {
            history.reopen().await;
            history.compare().await;
        }
    }
}

impl History {
    async fn begin(engine: Engine, seed: u64) -> Self {
        let (store, database, proxy) = match engine {
            Engine::Postgres => {
                let ProxiedStore { store, proxy, database } = ProxiedStore::open().await;
                (store, database, Some(proxy))
            }
            Engine::Sqlite => {
                let database = Database::new(engine).await;
                (open(&database.url).await, database, None)
            }
        };
        let mut history = Self {
            store,
            database,
            proxy,
            model: Model::default(),
            follower: Follower::default(),
            dice: Dice::new(seed),
            millis: 1_000_000,
        };
        // The first person, whom the histories' changes are by.
        let user = NewUser {
            email: "admin@x".into(),
            name: "admin".into(),
            password_hash: "h".into(),
            role: Role::Admin,
            bots: Bots::All,
        };
        history.store.user_create(user, Timestamp(1)).await.unwrap();
        history
            .append(vec![super::append(Target::New(new_conversation("often")), &["halo"; NEARLY_NOTED])])
            .await;
        history
    }

    fn now(&mut self) -> Timestamp {
        // Now and then another minute begins.
        self.millis += if self.dice.percent(5) { 45_000 } else { 10 };
        Timestamp(self.millis)
    }

    async fn group(&mut self, size: usize) {
        let at = self.now();
        let group = groups::group(&self.model, &mut self.dice, at, size);
        self.append(group).await;
    }

    async fn append(&mut self, group: Vec<Append>) {
        let outcomes = self.send(&group).await;
        let raced = groups::raced(&group);
        for (append, outcome) in groups::in_order(&group, &outcomes) {
            let raced = append.claim.as_ref().is_some_and(|claim| raced.contains(&claim.key));
            self.model.take(append, outcome, raced);
        }
    }

    async fn send(&mut self, group: &[Append]) -> Vec<Result<Outcome, Error>> {
        let appends = group.to_vec();
        let Some(proxy) = &self.proxy else { return at_once(&self.store, appends).await };
        match self.dice.below(10) {
            0..4 => at_once(&self.store, appends).await,
            4..9 => in_one_batch(&self.store, proxy, appends).await,
            _ => past_a_lock(&self.store, proxy, &self.database, appends).await,
        }
    }

    async fn change(&mut self) {
        let at = self.now();
        changes::change(&self.store, &self.database, &mut self.model, &mut self.dice, at).await;
    }

    /// One that is deleted while others are written to, and whose questions are still being answered.
    async fn long_conversation(&mut self) {
        let target = Target::New(new_conversation("often"));
        let messages = (0..LONG).map(|number| NewMessage::question(number.to_string())).collect();
        let long = Append { at: self.now(), messages, ..super::append(target, &[]) };
        self.append(vec![long]).await;
        let (id, _) = self.model.conversations.last_key_value().unwrap();
        let id = *id;
        let attempt = self.dice.uuid();
        let bot_id = "often".to_owned();
        let asked = Append {
            at: self.now(),
            ask: Ask::Opens { attempt, bot_id },
            ..super::append(Target::Existing(id), &["halo"])
        };
        self.append(vec![asked]).await;
        self.group(SMALL).await;
        self.compare().await;
        changes::conversation_delete(&self.store, &mut self.model, id).await;
        self.compare().await;
        self.group(SMALL).await;
        self.change().await;
        self.compare().await;
        changes::conversation_delete_rest(&self.store, &mut self.model).await;
    }

    async fn compare(&mut self) {
        tables::compare(&self.store, &self.database, &self.model).await;
        walks::compare(&self.store, &self.database, &self.model, &mut self.dice).await;
        search::compare(&self.store, &self.model, &mut self.dice).await;
        self.follower.follow(&self.store).await;
        self.follower.compare(&self.model);
    }

    async fn reopen(&mut self) {
        self.store.close().await;
        let url = self.proxy.as_ref().map_or(&self.database.url, |proxy| &proxy.url);
        self.store = open(url).await;
        self.model.node += 1;
    }
}
