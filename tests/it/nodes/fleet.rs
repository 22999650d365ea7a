//! Several servers on one database, of which some die or freeze.

use std::sync::{Arc, Mutex};

use crate::flow::process::{Server, Site};
use crate::store::create;
use crate::support::{Client, Engine};

const CONVERSATIONS: usize = 6;

/// Where the servers of a fleet are reached: another place after each start.
#[derive(Clone)]
pub struct Bases(Arc<Mutex<Vec<String>>>);

impl Bases {
    pub fn get(&self, number: usize) -> String {
        self.0.lock().unwrap()[number].clone()
    }
}

pub struct Fleet {
    pub site: Site,
    pub bases: Bases,
    /// Conversations that are there from the start, which all writers share.
    pub conversations: Vec<String>,
    /// With the site's key; asks the first server.
    pub program: Client,
    servers: Vec<Option<Server>>,
}

impl Fleet {
    pub async fn start(engine: Engine, count: usize) -> Self {
        let site = Site::new(engine).await;
        let urls = vec![site.database.url.clone(); count];
        Self::reached_by(site, &urls).await
    }

    /// `urls`: how each server reaches the database.
    pub async fn reached_by(site: Site, urls: &[String]) -> Self {
        let mut conversations = Vec::new();
        for _ in 0..CONVERSATIONS {
            conversations.push(create(&site.store, "echo", &[]).await.conversation.id.0.to_string());
        }
        let servers: Vec<_> = urls.iter().map(|url| site.start_with(url, "")).collect();
        let program = site.program(&servers[0]);
        let bases = Bases(Arc::new(Mutex::new(servers.iter().map(|server| server.base.clone()).collect())));
        Self { bases, conversations, program, servers: servers.into_iter().map(Some).collect(), site }
    }

    pub fn server(&self, number: usize) -> &Server {
        self.servers[number].as_ref().expect("it runs")
    }

    /// With the site's key.
    pub fn program_at(&self, number: usize) -> Client {
        self.program.at(&self.bases.get(number))
    }

    pub fn kill_9(&mut self, number: usize) {
        self.servers[number].take().expect("it runs").kill_9();
    }

    pub fn start_again(&mut self, number: usize) {
        let server = self.site.start();
        self.bases.0.lock().unwrap()[number] = server.base.clone();
        self.servers[number] = Some(server);
    }
}
