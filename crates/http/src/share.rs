//! A request's share in the memory that all requests have together: for its body, and for what of its answer the
//! client has not taken yet.

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
use crate::budget::{Budget, Class, Full, Held};
use crate::error::Failure::{self, ChatbotApi};
use crate::socket::Watch;

/// An answer up to this length is not counted: it takes no more than what hyper keeps for each connection anyway.
pub const FREE_BYTES: usize = 8 * 1024;

/// What one answer counts for at the most, as a part of what its class may hold. A larger one is held whole all the
/// same, so that the budget holds for all but four such answers at once.
const PART_OF_LIMIT: usize = 4;

/// How long a client may have been slow before it is cut off for others.
const SLOW: Duration = Duration::from_secs(5);

/// How often slow clients are cut off.
const PAUSE: Duration = Duration::from_millis(250);

/// The memory that all requests have together.
pub struct Memory {
    bodies: Arc<Budget>,
    answers: Arc<Budget>,
    readers: Mutex<Readers>,
}

/// The connections whose answers are counted.
struct Readers {
    open: Vec<Weak<Watch>>,
    cut_at: Option<Instant>,
}

impl Memory {
    /// `bodies` and `answers`: bytes, of which `usize::MAX` is no limit. `body_bytes`: the largest body that is taken.
    #[must_use]
    pub fn new(bodies: usize, body_bytes: usize, answers: usize, metrics: &HttpMetrics) -> Self {
        Self {
            bodies: Arc::new(Budget::new(bodies, body_bytes, metrics.budget("bodies"))),
            answers: Arc::new(Budget::new(answers, answers / PART_OF_LIMIT, metrics.budget("answers"))),
            readers: Mutex::new(Readers { open: Vec::new(), cut_at: None }),
        }
    }

    fn enter(&self, watch: &Weak<Watch>) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.open.len() == readers.open.capacity() {
            readers.open.retain(|watch| watch.strong_count() > 0);
        }
        readers.open.push(Weak::clone(watch));
    }

    /// Ends the connections of those who have taken longest over what they were sent: some at once, since finding them
    /// means looking at all. A visitor has to go for anybody, others not for what visitors hold.
    fn cut_slowest(&self, class: Class, bytes: usize) {
        let only_visitors = class == Class::Visitor && self.answers.is_held_by_visitors(bytes);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if readers.cut_at.is_some_and(|cut_at| now - cut_at < PAUSE) {
            return;
        }
        readers.cut_at = Some(now);
        let mut slow: Vec<_> = readers
            .open
            .iter()
            .filter_map(|watch| {
                let watch = watch.upgrade().filter(|watch| !only_visitors || !watch.is_of_known())?;
                let since = watch.unread_since().filter(|since| now - *since >= SLOW)?;
                Some((since, watch))
            })
            .collect();
        let count = slow.len().div_ceil(16);
        if count < slow.len() {
            slow.select_nth_unstable_by_key(count, |(since, _)| *since);
        }
        slow[..count].iter().for_each(|(_, watch)| watch.cut());
        if count > 0 {
            tracing::debug!(closed = count, "slow readers held memory that others need");
        }
    }
}

/// One request's share.
#[derive(Clone)]
pub struct Share {
    memory: Arc<Memory>,
    /// Whether the caller has shown credentials; until they are looked at, it counts as a visitor.
    known: Arc<AtomicBool>,
    watch: Option<Weak<Watch>>,
}

/// The client's connection, which the accept loop puts on each of its requests.
#[derive(Clone)]
pub struct Connection(pub Weak<Watch>);

/// On an answer whose memory is counted already.
#[derive(Clone)]
struct Counted;

impl Share {
    #[must_use]
    pub fn new(memory: &Arc<Memory>, request: &Extensions) -> Self {
        let watch = request.get::<Connection>().map(|Connection(watch)| Weak::clone(watch));
        Self { memory: Arc::clone(memory), known: Arc::default(), watch }
    }

    /// The caller has shown credentials.
    pub fn is_known(request: &Extensions) {
        if let Some(share) = request.get::<Self>() {
            share.known.store(true, Ordering::Relaxed);
        }
    }

    fn class(&self) -> Class {
        if self.known.load(Ordering::Relaxed) { Class::Known } else { Class::Visitor }
    }

    /// What the request's body takes: nothing yet.
    pub fn body(&self) -> Held {
        Held::nothing(&self.memory.bodies, self.class())
    }

    /// Bytes that a body of this caller may have, were there no other.
    pub fn body_limit(&self) -> usize {
        self.memory.bodies.limit(self.class())
    }

    /// Memory for a part of an answer that is there; `None` where there is no room. Then others who read slowly have to
    /// go, so that there is room for the next try.
    pub fn answer(&self, bytes: usize) -> Option<Held> {
        let bytes = self.counted(bytes);
        let mut held = Held::nothing(&self.memory.answers, self.class());
        if held.resize(bytes).is_ok() {
            self.enter();
            return Some(held);
        }
        self.memory.cut_slowest(self.class(), bytes);
        None
    }

    /// The same for what was taken for it before, where anything was: from now on, it counts for `bytes`.
    pub fn take(&self, held: &mut Option<Held>, bytes: usize) -> Result<(), Failure> {
        let full = || ChatbotApi(Error::Unavailable);
        let bytes = self.counted(bytes);
        match held {
            Some(held) => held.resize(bytes).map_err(|Full| {
                self.memory.cut_slowest(self.class(), bytes);
                full()
            }),
            None => {
                *held = Some(self.answer(bytes).ok_or_else(full)?);
                Ok(())
            }
        }
    }

    /// Memory for what is to be read for an answer under way, as soon as there is room and it is this one's turn.
    pub async fn answer_in_turn(&self, bytes: usize) -> Held {
        let bytes = self.counted(bytes);
        let taken = Held::in_turn(&self.memory.answers, self.class(), bytes);
        let mut taken = std::pin::pin!(taken);
        loop {
            tokio::select! {
                biased;
                held = &mut taken => return held,
                () = sleep(PAUSE) => self.memory.cut_slowest(self.class(), bytes),
            }
        }
    }

    /// Makes `held`, which was taken for what would be read, count what was. Where that is more and there is no room
    /// for it, it counts as little as was expected.
    pub fn adjust(&self, held: &mut Held, bytes: usize) {
        let _ = held.resize(self.counted(bytes));
    }

    fn counted(&self, bytes: usize) -> usize {
        bytes.min(self.memory.answers.limit(self.class()) / PART_OF_LIMIT)
    }

    /// From now on the client is among those who have to go if they read slowly.
    fn enter(&self) {
        if let Some(watch) = self.watch.as_ref().and_then(Weak::upgrade)
            && watch.is_counted_first(self.class() == Class::Known)
        {
            self.memory.enter(&Arc::downgrade(&watch));
        }
    }

    /// Counts an answer's memory until the client has taken it. Where there is no room, what only reads is refused
    /// before anything is sent; what has done something is answered all the same.
    pub fn count(&self, method: &Method, response: Response) -> Response {
        if response.extensions().get::<Counted>().is_some() {
            return response;
        }
        let length = response.body().size_hint().exact();
        let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if length.is_some_and(|length| length <= FREE_BYTES) {
            return response;
        }
        let held = length.and_then(|length| self.answer(length));
        if length.is_some() && held.is_none() && [Method::GET, Method::HEAD].contains(method) {
            let mut refusal = ChatbotApi(Error::Unavailable).into_response();
            // Pages of other sites may read why.
            for (name, value) in response.headers() {
                if *name == VARY || name.as_str().starts_with("access-control-") {
                    refusal.headers_mut().append(name, value.clone());
                }
            }
            return refusal;
        }
        response.map(|body| Body::new(Counting { body, share: self.clone(), held }))
    }
}

impl FromRequestParts<Http> for Share {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Self::Rejection> {
        let share = parts.extensions.get::<Self>().cloned();
        Ok(share.unwrap_or_else(|| Self::new(&http.memory, &parts.extensions)))
    }
}

/// For answers that are all the same bytes: one more takes no memory.
pub async fn shared(response: Response) -> Response {
    counted(response)
}

/// Says of an answer that it holds what it took for its memory.
pub fn counted(mut response: Response) -> Response {
    response.extensions_mut().insert(Counted);
    response
}

/// Bytes that count until they are with the client's socket.
pub fn held_bytes(bytes: impl AsRef<[u8]> + Send + 'static, held: Held) -> Bytes {
    struct Owner<T>(T, #[allow(dead_code, reason = "it counts as long as the bytes are there")] Held);

    impl<T: AsRef<[u8]>> AsRef<[u8]> for Owner<T> {
        fn as_ref(&self) -> &[u8] {
            self.0.as_ref()
        }
    }

    Bytes::from_owner(Owner(bytes, held))
}

/// A body whose frames count until they are with the client's socket.
struct Counting {
    body: Body,
    share: Share,
    /// For the first frame, where it was known how long the body is.
    held: Option<Held>,
}

impl HttpBody for Counting {
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
            let held = self.held.take().or_else(|| {
                let is_free = bytes.len() <= FREE_BYTES;
                if is_free { None } else { self.share.answer(bytes.len()) }
            });
            match held {
                Some(held) => held_bytes(bytes, held),
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
    /// Of a visitor's answers, three such find room.
    const LARGE: usize = LIMIT / 8;

    fn memory() -> Arc<Memory> {
        Arc::new(Memory::new(usize::MAX, usize::MAX, LIMIT, &Metrics::default().http))
    }

    fn counted_of(memory: &Arc<Memory>, method: Method, length: usize) -> Response {
        let answer = ([(ACCESS_CONTROL_ALLOW_ORIGIN, "*")], vec![b' '; length]).into_response();
        Share::new(memory, &Extensions::new()).count(&method, answer)
    }

    fn held(memory: &Memory) -> usize {
        LIMIT - memory.answers.left(Class::Known)
    }

    #[tokio::test]
    async fn an_answer_counts_until_its_bytes_are_gone() {
        let memory = memory();
        let mut body = counted_of(&memory, Method::GET, LARGE).into_body();
        assert_eq!(held(&memory), LARGE);
        let bytes = body.frame().await.unwrap().unwrap().into_data().unwrap();
        drop(body);
        let some = bytes.slice(..10);
        drop(bytes);
        assert_eq!(held(&memory), LARGE, "a part of the bytes keeps all of them");
        drop(some);
        assert_eq!(held(&memory), 0);
        drop(counted_of(&memory, Method::GET, LARGE));
        assert_eq!(held(&memory), 0);
    }

    #[tokio::test]
    async fn without_room_what_reads_is_refused_and_what_has_done_something_is_answered() {
        let memory = memory();
        let large: Vec<_> = (0..3).map(|_| counted_of(&memory, Method::GET, LARGE)).collect();
        assert!(large.iter().all(|response| response.status() == StatusCode::OK));
        for method in [Method::GET, Method::HEAD] {
            let refused = counted_of(&memory, method, LARGE);
            assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(refused.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*", "pages may read why");
        }
        let answered = counted_of(&memory, Method::POST, LARGE);
        assert_eq!(answered.status(), StatusCode::OK);
        assert_eq!(answered.into_body().collect().await.unwrap().to_bytes().len(), LARGE);
        assert_eq!(counted_of(&memory, Method::GET, FREE_BYTES).status(), StatusCode::OK);
        drop(large);
        assert_eq!(counted_of(&memory, Method::GET, LARGE).status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn an_answer_larger_than_the_budget_is_taken_by_itself() {
        let memory = memory();
        let huge = counted_of(&memory, Method::GET, 4 * LIMIT);
        assert_eq!(huge.status(), StatusCode::OK);
        assert_eq!(held(&memory), LIMIT / 2 / PART_OF_LIMIT);
        drop(huge);
        assert_eq!(held(&memory), 0);
    }

    #[tokio::test]
    async fn what_all_answers_share_takes_nothing() {
        let memory = memory();
        let answer = shared(vec![b' '; LARGE].into_response()).await;
        let _answer = Share::new(&memory, &Extensions::new()).count(&Method::GET, answer);
        assert_eq!(held(&memory), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_readers_go_where_others_need_their_memory() {
        let memory = memory();
        let share_of = |watch: &Arc<Watch>, known: bool| {
            let mut request = Extensions::new();
            request.insert(Connection(Arc::downgrade(watch)));
            let share = Share::new(&memory, &request);
            share.known.store(known, Ordering::Relaxed);
            share
        };
        let is_cut = |watch: &Arc<Watch>| watch.expired().now_or_never().is_some();
        let (stranger, known) = (Watch::unread(), Watch::unread());
        let mut held = vec![share_of(&stranger, false).answer(LARGE).unwrap()];
        held.push(share_of(&known, true).answer(LARGE).unwrap());
        let visitor = Share::new(&memory, &Extensions::new());
        while let Some(more) = visitor.answer(LARGE) {
            held.push(more);
            assert!(held.len() < 100, "there is no end");
        }
        tokio::time::advance(SLOW - PAUSE).await;
        assert!(visitor.answer(LARGE).is_none());
        assert!(!is_cut(&stranger) && !is_cut(&known), "neither is slow yet");
        tokio::time::advance(2 * PAUSE).await;
        assert!(visitor.answer(LARGE).is_none());
        assert!(is_cut(&stranger) && !is_cut(&known), "visitors make room for each other");
        drop(stranger);
        let waiting = share_of(&Watch::unread(), true);
        held.extend((0..10).map_while(|_| waiting.answer(LARGE)));
        // Who waits for a turn drives them out as well.
        let mut turn = std::pin::pin!(waiting.answer_in_turn(LARGE));
        assert!(timeout(2 * PAUSE, &mut turn).await.is_err());
        assert!(is_cut(&known));
        held.clear();
        turn.await;
    }
}
