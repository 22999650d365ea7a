//! The memory that one request may hold, out of budgets that all requests share: for its body, and for the bytes of its
//! response that the client has not taken yet. Under pressure, the clients that read slowest are disconnected.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::FromRequestParts;
use axum::http::header::VARY;
use axum::http::request::Parts;
use axum::http::{Extensions, Method};
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, sleep};
use wicara_metrics::HttpMetrics;
use wicara_service::Error;

use crate::Http;
use crate::budget::{Budget, BudgetExceeded, CallerClass, Reservation};
use crate::error::Failure::{self, ChatbotApi};
use crate::socket::ConnectionState;

/// A response up to this length is not counted: hyper keeps as much for each connection anyway.
pub const UNCOUNTED_BYTES: usize = 8 * 1024;

/// One response counts for at most this fraction of its class' limit. A larger one is in memory as a whole all the
/// same, so that the budget is exact only while fewer than four of them are.
const MAX_FRACTION: usize = 4;

/// A client that has not taken [`crate::socket`]'s minimum for this long may be disconnected in favour of others.
const SLOW: Duration = Duration::from_secs(5);

/// Between two rounds of disconnecting slow clients.
const EVICTION_INTERVAL: Duration = Duration::from_millis(250);

/// The budgets that all requests share.
pub struct MemoryBudgets {
    bodies: Arc<Budget>,
    responses: Arc<Budget>,
    readers: Mutex<Readers>,
}

/// The connections whose responses are counted.
struct Readers {
    connections: Vec<Weak<ConnectionState>>,
    evicted_at: Option<Instant>,
}

impl MemoryBudgets {
    /// `bodies` and `responses`: bytes; `usize::MAX` is no limit. `body_bytes`: the largest body that is accepted.
    #[must_use]
    pub fn new(bodies: usize, body_bytes: usize, responses: usize, metrics: &HttpMetrics) -> Self {
        Self {
            bodies: Arc::new(Budget::new(bodies, body_bytes, metrics.budget("bodies"))),
            responses: Arc::new(Budget::new(responses, responses / MAX_FRACTION, metrics.budget("answers"))),
            readers: Mutex::new(Readers { connections: Vec::new(), evicted_at: None }),
        }
    }

    fn track(&self, connection: &Weak<ConnectionState>) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.connections.len() == readers.connections.capacity() {
            readers.connections.retain(|connection| connection.strong_count() > 0);
        }
        readers.connections.push(Weak::clone(connection));
    }

    /// Disconnects the slowest sixteenth of the slow clients: finding them means a scan of all, so that one at a time
    /// would cost too much. For a request of a visitor that competes with visitors, only visitors are disconnected.
    fn evict_slowest(&self, class: CallerClass, bytes: usize) {
        let only_visitors = class == CallerClass::Visitor && self.responses.is_exhausted_by_visitors(bytes);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if readers.evicted_at.is_some_and(|evicted_at| now - evicted_at < EVICTION_INTERVAL) {
            return;
        }
        readers.evicted_at = Some(now);
        let mut slow: Vec<_> = readers
            .connections
            .iter()
            .filter_map(|connection| {
                let connection = connection.upgrade();
                let connection = connection.filter(|it| !only_visitors || !it.is_authenticated())?;
                let since = connection.stalled_since().filter(|since| now - *since >= SLOW)?;
                Some((since, connection))
            })
            .collect();
        let count = slow.len().div_ceil(16);
        if count < slow.len() {
            slow.select_nth_unstable_by_key(count, |(since, _)| *since);
        }
        slow[..count].iter().for_each(|(_, connection)| connection.close());
        if count > 0 {
            tracing::debug!(closed = count, "slow readers held memory that others need");
        }
    }
}

/// One request's claim on the budgets.
#[derive(Clone)]
pub struct RequestMemory {
    budgets: Arc<MemoryBudgets>,
    /// Set once the credentials are verified; until then the caller counts as a visitor.
    authenticated: Arc<AtomicBool>,
    connection: Option<Weak<ConnectionState>>,
}

/// The request extension by which the accept loop names the client's connection.
#[derive(Clone)]
pub struct Connection(pub Weak<ConnectionState>);

/// The extension of a response whose memory is reserved already.
#[derive(Clone)]
struct Counted;

impl RequestMemory {
    #[must_use]
    pub fn new(budgets: &Arc<MemoryBudgets>, request: &Extensions) -> Self {
        let connection = request.get::<Connection>().map(|Connection(connection)| Weak::clone(connection));
        Self { budgets: Arc::clone(budgets), authenticated: Arc::default(), connection }
    }

    /// From now on the request's reservations belong to [`CallerClass::Authenticated`].
    pub fn set_authenticated(request: &Extensions) {
        if let Some(memory) = request.get::<Self>() {
            memory.authenticated.store(true, Ordering::Relaxed);
        }
    }

    fn class(&self) -> CallerClass {
        if self.authenticated.load(Ordering::Relaxed) {
            CallerClass::Authenticated
        } else {
            CallerClass::Visitor
        }
    }

    /// An empty reservation for the request's body.
    pub fn body(&self) -> Reservation {
        Reservation::empty(&self.budgets.bodies, self.class())
    }

    /// Bytes that a body of this caller may have while there is no other.
    pub fn body_limit(&self) -> usize {
        self.budgets.bodies.limit(self.class())
    }

    /// Reserves memory for a piece of a response that is in memory already. Where the budget is exceeded: `None`, and
    /// slow clients are disconnected, so that the next attempt may succeed.
    pub fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        let bytes = self.capped(bytes);
        let mut reservation = Reservation::empty(&self.budgets.responses, self.class());
        if reservation.resize(bytes).is_ok() {
            self.track_connection();
            return Some(reservation);
        }
        self.budgets.evict_slowest(self.class(), bytes);
        None
    }

    /// Makes `reservation` count for `bytes`, or makes one where there is none. On failure an existing one keeps its
    /// size.
    pub fn resize(&self, reservation: &mut Option<Reservation>, bytes: usize) -> Result<(), Failure> {
        let unavailable = || ChatbotApi(Error::Unavailable);
        let bytes = self.capped(bytes);
        match reservation {
            Some(reservation) => reservation.resize(bytes).map_err(|BudgetExceeded| {
                self.budgets.evict_slowest(self.class(), bytes);
                unavailable()
            }),
            None => {
                *reservation = Some(self.try_reserve(bytes).ok_or_else(unavailable)?);
                Ok(())
            }
        }
    }

    /// Waits in the budget's queue for the memory of what a response under way reads next. While it waits, slow clients
    /// are disconnected.
    pub async fn reserve(&self, bytes: usize) -> Reservation {
        let bytes = self.capped(bytes);
        let reserved = Reservation::queued(&self.budgets.responses, self.class(), bytes);
        let mut reserved = std::pin::pin!(reserved);
        loop {
            tokio::select! {
                biased;
                reservation = &mut reserved => return reservation,
                () = sleep(EVICTION_INTERVAL) => self.budgets.evict_slowest(self.class(), bytes),
            }
        }
    }

    /// Makes a reservation, which was an estimate, count for the bytes that were read. Where these are more and the
    /// budget is exceeded, the estimate stays.
    pub fn adjust(&self, reservation: &mut Reservation, bytes: usize) {
        let _ = reservation.resize(self.capped(bytes));
    }

    fn capped(&self, bytes: usize) -> usize {
        bytes.min(self.budgets.responses.limit(self.class()) / MAX_FRACTION)
    }

    /// From now on the client may be disconnected if it reads slowly.
    fn track_connection(&self) {
        if let Some(connection) = self.connection.as_ref().and_then(Weak::upgrade)
            && connection.mark_counted(self.class() == CallerClass::Authenticated)
        {
            self.budgets.track(&Arc::downgrade(&connection));
        }
    }

    /// Reserves a response's memory until the client has taken it. Where the budget is exceeded, the response of a GET
    /// or HEAD is replaced by 503. That of another method is sent uncounted: the request has changed something already.
    pub fn count(&self, method: &Method, response: Response) -> Response {
        if response.extensions().get::<Counted>().is_some() {
            return response;
        }
        let length = response.body().size_hint().exact();
        let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if length.is_some_and(|length| length <= UNCOUNTED_BYTES) {
            return response;
        }
        let reservation = length.and_then(|length| self.try_reserve(length));
        if length.is_some() && reservation.is_none() && [Method::GET, Method::HEAD].contains(method) {
            let mut refusal = ChatbotApi(Error::Unavailable).into_response();
            // With these headers, pages of other sites may read the refusal.
            for (name, value) in response.headers() {
                if *name == VARY || name.as_str().starts_with("access-control-") {
                    refusal.headers_mut().append(name, value.clone());
                }
            }
            return refusal;
        }
        response.map(|body| Body::new(CountedBody { body, memory: self.clone(), reservation }))
    }
}

impl FromRequestParts<Http> for RequestMemory {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Self::Rejection> {
        let memory = parts.extensions.get::<Self>().cloned();
        Ok(memory.unwrap_or_else(|| Self::new(&http.budgets, &parts.extensions)))
    }
}

/// For responses that all share the same bytes: one more takes no memory.
pub async fn shared(response: Response) -> Response {
    counted(response)
}

/// Marks a response whose memory is reserved already.
pub fn counted(mut response: Response) -> Response {
    response.extensions_mut().insert(Counted);
    response
}

/// Bytes whose reservation is released when the client's socket has taken them all.
pub fn reserved_bytes(bytes: impl AsRef<[u8]> + Send + 'static, reservation: Reservation) -> Bytes {
    struct Owner<T>(T, #[allow(dead_code, reason = "dropping it releases the memory")] Reservation);

    impl<T: AsRef<[u8]>> AsRef<[u8]> for Owner<T> {
        fn as_ref(&self) -> &[u8] {
            self.0.as_ref()
        }
    }

    Bytes::from_owner(Owner(bytes, reservation))
}

/// A response body each of whose frames is reserved until the client's socket has taken it.
struct CountedBody {
    body: Body,
    memory: RequestMemory,
    /// For the first frame, where the body's length was known.
    reservation: Option<Reservation>,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)?) else {
            return Poll::Ready(None);
        };
        let frame = frame.map_data(|bytes| {
            let reservation = self.reservation.take().or_else(|| {
                let is_counted = bytes.len() > UNCOUNTED_BYTES;
                if is_counted { self.memory.try_reserve(bytes.len()) } else { None }
            });
            match reservation {
                Some(reservation) => reserved_bytes(bytes, reservation),
                None => bytes,
            }
        });
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
    use futures_util::FutureExt;
    use http_body_util::BodyExt;
    use tokio::time::timeout;
    use wicara_metrics::Metrics;

    use super::*;

    const LIMIT: usize = 8 * 1024 * 1024;
    /// Three responses of this length fit into the visitors' half.
    const LARGE: usize = LIMIT / 8;

    fn budgets() -> Arc<MemoryBudgets> {
        Arc::new(MemoryBudgets::new(usize::MAX, usize::MAX, LIMIT, &Metrics::default().http))
    }

    fn counted_of(budgets: &Arc<MemoryBudgets>, method: Method, length: usize) -> Response {
        let answer = ([(ACCESS_CONTROL_ALLOW_ORIGIN, "*")], vec![b' '; length]).into_response();
        RequestMemory::new(budgets, &Extensions::new()).count(&method, answer)
    }

    fn reserved(budgets: &MemoryBudgets) -> usize {
        LIMIT - budgets.responses.left(CallerClass::Authenticated)
    }

    #[tokio::test]
    async fn an_answer_counts_until_its_bytes_are_gone() {
        let budgets = budgets();
        let mut body = counted_of(&budgets, Method::GET, LARGE).into_body();
        assert_eq!(reserved(&budgets), LARGE);
        let bytes = body.frame().await.unwrap().unwrap().into_data().unwrap();
        drop(body);
        let some = bytes.slice(..10);
        drop(bytes);
        assert_eq!(reserved(&budgets), LARGE, "a part of the bytes keeps all of them");
        drop(some);
        assert_eq!(reserved(&budgets), 0);
        drop(counted_of(&budgets, Method::GET, LARGE));
        assert_eq!(reserved(&budgets), 0);
    }

    #[tokio::test]
    async fn without_room_what_reads_is_refused_and_what_has_done_something_is_answered() {
        let budgets = budgets();
        let large: Vec<_> = (0..3).map(|_| counted_of(&budgets, Method::GET, LARGE)).collect();
        assert!(large.iter().all(|response| response.status() == StatusCode::OK));
        for method in [Method::GET, Method::HEAD] {
            let refused = counted_of(&budgets, method, LARGE);
            assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(refused.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*", "pages may read why");
        }
        let answered = counted_of(&budgets, Method::POST, LARGE);
        assert_eq!(answered.status(), StatusCode::OK);
        assert_eq!(answered.into_body().collect().await.unwrap().to_bytes().len(), LARGE);
        assert_eq!(counted_of(&budgets, Method::GET, UNCOUNTED_BYTES).status(), StatusCode::OK);
        drop(large);
        assert_eq!(counted_of(&budgets, Method::GET, LARGE).status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn an_answer_larger_than_the_budget_is_taken_by_itself() {
        let budgets = budgets();
        let huge = counted_of(&budgets, Method::GET, 4 * LIMIT);
        assert_eq!(huge.status(), StatusCode::OK);
        assert_eq!(reserved(&budgets), LIMIT / 2 / MAX_FRACTION);
        drop(huge);
        assert_eq!(reserved(&budgets), 0);
    }

    #[tokio::test]
    async fn what_all_answers_share_takes_nothing() {
        let budgets = budgets();
        let answer = shared(vec![b' '; LARGE].into_response()).await;
        let _answer = RequestMemory::new(&budgets, &Extensions::new()).count(&Method::GET, answer);
        assert_eq!(reserved(&budgets), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_readers_go_where_others_need_their_memory() {
        let budgets = budgets();
        let memory_of = |connection: &Arc<ConnectionState>, known: bool| {
            let mut request = Extensions::new();
            request.insert(Connection(Arc::downgrade(connection)));
            let memory = RequestMemory::new(&budgets, &request);
            memory.authenticated.store(known, Ordering::Relaxed);
            memory
        };
        let is_cut = |connection: &Arc<ConnectionState>| connection.expired().now_or_never().is_some();
        let (stranger, known) = (ConnectionState::stalled(), ConnectionState::stalled());
        let mut held = vec![memory_of(&stranger, false).try_reserve(LARGE).unwrap()];
        held.push(memory_of(&known, true).try_reserve(LARGE).unwrap());
        let visitor = RequestMemory::new(&budgets, &Extensions::new());
        while let Some(more) = visitor.try_reserve(LARGE) {
            held.push(more);
            assert!(held.len() < 100, "there is no end");
        }
        tokio::time::advance(SLOW - EVICTION_INTERVAL).await;
        assert!(visitor.try_reserve(LARGE).is_none());
        assert!(!is_cut(&stranger) && !is_cut(&known), "neither is slow yet");
        tokio::time::advance(2 * EVICTION_INTERVAL).await;
        assert!(visitor.try_reserve(LARGE).is_none());
        assert!(is_cut(&stranger) && !is_cut(&known), "visitors make room for each other");
        drop(stranger);
        let waiting = memory_of(&ConnectionState::stalled(), true);
        held.extend((0..10).map_while(|_| waiting.try_reserve(LARGE)));
        // A queued reservation evicts slow readers too.
        let mut turn = std::pin::pin!(waiting.reserve(LARGE));
        assert!(timeout(2 * EVICTION_INTERVAL, &mut turn).await.is_err());
        assert!(is_cut(&known));
        held.clear();
        turn.await;
    }
}
