//! The writer: takes what waits, commits it in one transaction, and only then answers.
//!
//! One thread, one connection, one transaction at a time (group commit). A batch that PostgreSQL as a whole cannot take
//! is tried again, over a new connection where that may help; one that may fail for a single command is halved until that
//! command fails alone. A commit whose answer got lost is looked up by the row that its batch left, never guessed.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::ErrorCode;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::flight::{Flight, LockWait, Uncommitted};
use super::postgres::{Connection, Server};
use super::{Error, Result, Transaction, sqlite};
use crate::metrics::StoreMetrics;
use crate::model::Random;

/// Commands that may wait; beyond it, new ones are refused. Each holds at most a request's body or a bot's answer. One
/// more batch than is being written: two of them take a tenth of a second or two.
const QUEUE: usize = 512;
/// Commands in one transaction.
const BATCH: usize = 512;
/// How often a batch is tried while the database cannot take it.
const ATTEMPTS: usize = 3;
/// No attempt begins later than this after the first: others wait behind it.
const ATTEMPTS_TIME: Duration = Duration::from_secs(3);
/// How long one batch may be halved. Each half may wait for a row that another session has locked, and what comes after
/// waits behind all of them: at its end the rest of the batch is refused.
const HALVING_TIME: Duration = Duration::from_secs(3);
/// A command that was refused alone within this time is tried once more: it waited for a lock, not for itself.
const CROSSED_TIME: Duration = Duration::from_secs(1);
/// How long the outcome of a commit is looked up before its callers are told that it is not known. The last look may
/// take as long again as connecting and one statement do.
const IN_DOUBT: Duration = Duration::from_secs(20);
const IN_DOUBT_PAUSE: Duration = Duration::from_millis(200);

/// Commands that are stored together. The area that owns the tables says how.
pub trait Command: Send + Sized + 'static {
    /// Writes all of them, keeping each one's outcome; called again from the beginning if the batch is retried.
    fn write<'a>(batch: &'a mut [Self], transaction: &'a Transaction<'a>) -> LocalFuture<'a, Result<()>>;

    /// Whether it is stored in a transaction of its own: it takes long.
    fn is_long(&self) -> bool;

    /// Answers the caller: with the outcome kept if the batch is committed, else with the error.
    fn answer(self, committed: Result<()>);
}

pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

enum Job<C> {
    Write(C),
    Close(oneshot::Sender<()>),
}

/// The way to the writer.
pub struct Writer<C> {
    queue: mpsc::Sender<Job<C>>,
    is_refused: Arc<AtomicBool>,
    metrics: Arc<StoreMetrics>,
}

/// What the writer writes to.
pub enum Target {
    Postgres {
        server: Server,
        /// Names the batches.
        random: Random,
    },
    Sqlite(PathBuf),
}

impl<C: Command> Writer<C> {
    pub fn start(target: Target, metrics: Arc<StoreMetrics>) -> Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let backend = match target {
            Target::Postgres { server, random } => {
                Backend::Postgres(Postgres { server, random, connection: None, last: None })
            }
            Target::Sqlite(path) => Backend::Sqlite(sqlite::open(&path)?),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::Setup(format!("cannot start the writer: {error}")))?;
        let is_refused = Arc::default();
        let thread = Thread {
            backend,
            is_refused: Arc::clone(&is_refused),
            in_doubt: TaskTracker::new(),
            metrics: Arc::clone(&metrics),
        };
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || runtime.block_on(thread.run(jobs)))
            .map_err(|error| Error::Setup(format!("cannot start the writer: {error}")))?;
        Ok(Self { queue, is_refused, metrics })
    }

    /// Hands over a command that begins something; it is answered by [`Command::answer`].
    pub fn send(&self, command: C) {
        self.metrics.queued();
        let (command, reason) = match self.queue.try_send(Job::Write(command)) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(job)) => (job, "too many writes wait"),
            Err(mpsc::error::TrySendError::Closed(job)) => (job, "the store is closed"),
        };
        self.metrics.dequeued(1);
        if let Job::Write(command) = command {
            command.answer(Err(Error::Unavailable(reason.into())));
        }
    }

    /// Hands over a command that ends what was let in before: it waits for a place, ahead of what begins.
    pub async fn send_in_turn(&self, command: C) {
        self.metrics.queued();
        if let Err(mpsc::error::SendError(Job::Write(command))) = self.queue.send(Job::Write(command)).await {
            self.metrics.dequeued(1);
            command.answer(Err(Error::Unavailable("the store is closed".into())));
        }
    }

    /// Whether nothing can be written any more.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Whether the database refused what was tried last, for a reason that may pass.
    pub fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed)
    }

    /// Writes what waits and ends the writer.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.queue.send(Job::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

/// What the writer's thread works with.
struct Thread {
    backend: Backend,
    is_refused: Arc<AtomicBool>,
    /// The look-ups of commits whose answer got lost.
    in_doubt: TaskTracker,
    metrics: Arc<StoreMetrics>,
}

impl Thread {
    async fn run<C: Command>(mut self, mut jobs: mpsc::Receiver<Job<C>>) {
        let mut waiting = Vec::with_capacity(BATCH);
        while jobs.recv_many(&mut waiting, BATCH).await > 0 {
            let mut batch = Vec::with_capacity(waiting.len());
            let mut closing = None;
            for job in waiting.drain(..) {
                match job {
                    Job::Write(command) => batch.push(command),
                    Job::Close(done) => closing = Some(done),
                }
            }
            self.metrics.dequeued(batch.len());
            // Locks that a long command takes late must not be held by others of its batch from early on.
            let (long, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(Command::is_long);
            self.store(batch).await;
            for command in long {
                self.store(vec![command]).await;
            }
            if let Some(done) = closing {
                let Self { backend, in_doubt, .. } = self;
                drop((jobs, backend));
                in_doubt.close();
                in_doubt.wait().await;
                let _ = done.send(());
                return;
            }
        }
    }

    async fn store<C: Command>(&mut self, batch: Vec<C>) {
        let mut batches = vec![batch];
        let (mut together, mut alone) = (LockWait::Long, LockWait::Long);
        let mut halving_since = None;
        while let Some(mut batch) = batches.pop() {
            if batch.is_empty() {
                continue;
            }
            let begin = Instant::now();
            let is_alone = batch.len() == 1;
            // The first command alone waits as long as any, since its row may only be busy. Those after it do not: others
            // wait behind all of them together.
            let lock_wait = if is_alone { std::mem::replace(&mut alone, LockWait::Short) } else { together };
            let committed = self.backend.commit(&mut batch, lock_wait).await;
            match &committed {
                Committed::Yes => self.metrics.committed(batch.len(), begin.elapsed()),
                Committed::No(_) => self.metrics.commit_failed(),
                // Known only once it is looked up.
                Committed::InDoubt { .. } => {}
            }
            self.is_refused.store(committed.is_refused(), Ordering::Relaxed);
            match committed {
                Committed::Yes => answer(batch, &Ok(())),
                Committed::No(error @ (Error::Unavailable(_) | Error::OutcomeUnknown(_))) => {
                    tracing::warn!(%error, commands = batch.len(), "the store cannot write");
                    answer(batch, &Err(error));
                }
                // Two nodes whose batches meet crosswise: the lock timeout comes before PostgreSQL finds the deadlock.
                Committed::No(Error::Refused(reason))
                    if is_alone && halving_since.is_none() && begin.elapsed() < CROSSED_TIME =>
                {
                    tracing::debug!(reason, "writing again");
                    halving_since = Some(begin);
                    batches.push(batch);
                }
                Committed::No(error) if is_alone => answer(batch, &Err(error)),
                Committed::No(error @ Error::Refused(_))
                    if halving_since.is_some_and(|since: Instant| since.elapsed() > HALVING_TIME) =>
                {
                    tracing::warn!(%error, commands = batch.len(), "the store cannot write");
                    answer(batch, &Err(error));
                }
                Committed::No(error) => {
                    halving_since.get_or_insert(begin);
                    if matches!(error, Error::Refused(_)) {
                        together = LockWait::Short;
                    }
                    let rest = batch.split_off(batch.len() / 2);
                    batches.push(rest);
                    batches.push(batch);
                }
                Committed::InDoubt { server, batch: name } => {
                    let metrics = Arc::clone(&self.metrics);
                    self.in_doubt.spawn(async move {
                        let committed = look_up(&server, name).await;
                        match committed {
                            Ok(()) => metrics.committed(batch.len(), begin.elapsed()),
                            Err(_) => metrics.commit_failed(),
                        }
                        answer(batch, &committed);
                    });
                }
            }
        }
    }
}

fn answer<C: Command>(batch: Vec<C>, committed: &Result<()>) {
    for command in batch {
        command.answer(committed.clone());
    }
}

enum Committed {
    Yes,
    No(Error),
    /// The connection was lost after COMMIT was sent.
    InDoubt {
        server: Server,
        batch: Uuid,
    },
}

impl Committed {
    /// Whether the database did not take it, as far as is known, for a reason that may pass.
    fn is_refused(&self) -> bool {
        match self {
            Self::Yes => false,
            Self::No(error) => error.is_passing(),
            Self::InDoubt { .. } => true,
        }
    }
}

enum Backend {
    Postgres(Postgres),
    Sqlite(rusqlite::Connection),
}

struct Postgres {
    server: Server,
    random: Random,
    connection: Option<Arc<Connection>>,
    /// The last batch, if it is known to be committed.
    last: Option<Uuid>,
}

impl Backend {
    async fn commit<C: Command>(&mut self, batch: &mut [C], lock_wait: LockWait) -> Committed {
        match self {
            Backend::Sqlite(connection) => match commit_sqlite(connection, batch).await {
                Ok(()) => Committed::Yes,
                Err(error) => Committed::No(error),
            },
            Backend::Postgres(postgres) => {
                let mut attempt = 1;
                let begin = Instant::now();
                loop {
                    match commit_postgres(postgres, batch, lock_wait).await {
                        Committed::No(Error::Unavailable(reason))
                            if attempt < ATTEMPTS && begin.elapsed() < ATTEMPTS_TIME =>
                        {
                            tracing::debug!(reason, attempt, "writing again");
                            attempt += 1;
                        }
                        committed => return committed,
                    }
                }
            }
        }
    }
}

async fn commit_sqlite<C: Command>(connection: &rusqlite::Connection, batch: &mut [C]) -> Result<()> {
    let execute = |sql| connection.execute_batch(sql).map_err(|error| sqlite::failure(&error));
    // One that could not be rolled back either.
    if !connection.is_autocommit() {
        execute("ROLLBACK")?;
    }
    execute("BEGIN IMMEDIATE")?;
    let mut written = C::write(batch, &Transaction::Sqlite(connection)).await;
    if written.is_ok() {
        written = commit_outcome(connection.execute_batch("COMMIT"));
    }
    // A COMMIT that failed, on a full disk for one, leaves the transaction open.
    if written.is_err() && !connection.is_autocommit() {
        execute("ROLLBACK")?;
    }
    written
}

/// What COMMIT did. Where the disk failed it, its frames may stand in the log all the same, with their mark, and are read
/// again by the next process that opens it.
fn commit_outcome(committed: rusqlite::Result<()>) -> Result<()> {
    committed.map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::SystemIoFailure) => Error::OutcomeUnknown(error.to_string()),
        _ => sqlite::failure(&error),
    })
}

async fn commit_postgres<C: Command>(
    postgres: &mut Postgres,
    batch: &mut [C],
    lock_wait: LockWait,
) -> Committed {
    let connection = match postgres.connection.take().filter(|connection| !connection.is_closed()) {
        Some(connection) => connection,
        None => match postgres.server.connect_writer().await {
            Ok(connection) => Arc::new(connection),
            Err(error) => return Committed::No(Error::Unavailable(error.to_string())),
        },
    };
    let name = postgres.random.uuid();
    let flight = match Flight::begin(Arc::clone(&connection), lock_wait).await {
        Ok(flight) => flight,
        Err(error) => return Committed::No(error),
    };
    let written = async {
        flight.execute(NAME_BATCH, vec![name.into(), postgres.last.into()]).await?;
        C::write(batch, &Transaction::Postgres(&flight)).await
    };
    if let Err(error) = written.await {
        if flight.roll_back().await {
            postgres.connection = Some(connection);
        }
        return Committed::No(error);
    }
    match flight.commit().await {
        Ok(()) => {
            postgres.connection = Some(connection);
            postgres.last = Some(name);
            Committed::Yes
        }
        Err(Uncommitted::No(error)) => {
            postgres.connection = Some(connection);
            Committed::No(error)
        }
        Err(Uncommitted::InDoubt) => {
            postgres.last = None;
            Committed::InDoubt { server: postgres.server.clone(), batch: name }
        }
    }
}

/// Leaves a row by which the batch is found again, in place of the one before. (A transaction id would not do: after
/// a crash of the server, another transaction may get the same one.)
const NAME_BATCH: &str =
    "WITH before AS (DELETE FROM batches WHERE id = $2) INSERT INTO batches (id) VALUES ($1)";

/// Waits for the batch's transaction if it still runs, and then finds its row or does not.
const FIND_BATCH: &str = "INSERT INTO batches (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id";

/// Whether a batch was committed, once its database can be asked again.
async fn look_up(server: &Server, batch: Uuid) -> Result<()> {
    let deadline = Instant::now() + IN_DOUBT;
    loop {
        let found = async {
            let connection = server.connect().await?;
            connection.execute("BEGIN READ WRITE").await?;
            let inserted = connection.query(FIND_BATCH, &[batch.into()]).await?;
            connection.execute("ROLLBACK").await?;
            Ok::<_, Error>(inserted.is_empty())
        };
        match found.await {
            Ok(true) => return Ok(()),
            Ok(false) => return Err(Error::Unavailable("the connection was lost".into())),
            Err(error) if Instant::now() >= deadline => {
                return Err(Error::OutcomeUnknown(format!("a commit cannot be looked up: {error}")));
            }
            Err(_) => {}
        }
        tokio::time::sleep(IN_DOUBT_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as std_mpsc;

    use futures_util::{FutureExt, poll};

    use super::*;
    use crate::metrics::Metrics;

    /// Keeps the writer busy from when it says so until it is let go, where it has something to wait for.
    struct Wait(Option<(std_mpsc::Sender<()>, std_mpsc::Receiver<()>)>, oneshot::Sender<Result<()>>);

    impl Command for Wait {
        fn write<'a>(batch: &'a mut [Self], _: &'a Transaction<'a>) -> LocalFuture<'a, Result<()>> {
            Box::pin(async move {
                for (begun, go) in batch.iter_mut().filter_map(|wait| wait.0.take()) {
                    begun.send(()).unwrap();
                    go.recv().unwrap();
                }
                Ok(())
            })
        }

        fn is_long(&self) -> bool {
            false
        }

        fn answer(self, committed: Result<()>) {
            self.1.send(committed).unwrap();
        }
    }

    #[tokio::test]
    async fn a_full_queue_refuses_what_begins_and_lets_wait_what_ends() {
        let folder = tempfile::tempdir().unwrap();
        let writer =
            Writer::start(Target::Sqlite(folder.path().join("db")), Metrics::default().store).unwrap();
        let ((begun, has_begun), (go, may_go)) = (std_mpsc::channel(), std_mpsc::channel());
        let (reply, first) = oneshot::channel();
        writer.send(Wait(Some((begun, may_go)), reply));
        has_begun.recv().unwrap();

        let send = || {
            let (reply, answer) = oneshot::channel();
            writer.send(Wait(None, reply));
            answer
        };
        let mut waiting: Vec<_> = (0..QUEUE).map(|_| send()).collect();
        assert!(matches!(send().try_recv(), Ok(Err(Error::Unavailable(_)))));
        let (reply, last) = oneshot::channel();
        let mut in_turn = writer.send_in_turn(Wait(None, reply)).boxed_local();
        assert!(poll!(&mut in_turn).is_pending());
        assert!(waiting.iter_mut().all(|answer| answer.try_recv().is_err()), "nothing is answered yet");

        go.send(()).unwrap();
        in_turn.await;
        waiting.extend([first, last]);
        for answer in waiting {
            answer.await.unwrap().unwrap();
        }
        writer.close().await;
    }
}
