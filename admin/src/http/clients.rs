//! The connections of the admin server, or of the socket of commands, and which one is closed when there are too many.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;

use super::answer::Answer;

/// The connections, of which there are never more than a limit. It never keeps anybody waiting: the one that may go
/// best is closed for a new one.
pub(crate) struct Clients {
    max: usize,
    open: Vec<(Arc<Client>, AbortHandle)>,
    /// Of the last thing that happened to any of them.
    number: Arc<AtomicU64>,
}

/// One connection.
pub(crate) struct Client {
    doing: Mutex<(Doing, u64)>,
    number: Arc<AtomicU64>,
}

/// What a connection does, the ones that may go best first. Among those that do the same, the one that began to first
/// goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    /// It may ask for nothing.
    Stranger,
    /// It has sent no request, or none to its end, or has its answer.
    Silent,
    /// It waits for an answer, or takes it.
    Answered,
    /// It listens to events.
    Listening,
}

impl Clients {
    /// At most `max` connections, which is not zero.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            open: Vec::with_capacity(max),
            number: Arc::default(),
        }
    }

    /// A connection that was accepted: it notes here what it does.
    pub(crate) fn client(&self) -> Arc<Client> {
        let client = Client {
            doing: Mutex::new((Doing::Silent, 0)),
            number: self.number.clone(),
        };
        client.begin(Doing::Silent);
        Arc::new(client)
    }

    /// Adds a connection with its task. Another one may have to go for it.
    pub(crate) fn add(&mut self, client: Arc<Client>, task: AbortHandle) {
        self.open.retain(|(_, task)| !task.is_finished());
        if self.open.len() >= self.max {
            self.close_one();
        }
        self.open.push((client, task));
    }

    /// Closes the connection that may go best. False when there is none.
    pub(crate) fn close_one(&mut self) -> bool {
        self.close_up_to(Doing::Listening)
    }

    /// The same among those that have asked for nothing. False when there is none.
    pub(crate) fn close_silent(&mut self) -> bool {
        self.close_up_to(Doing::Silent)
    }

    fn close_up_to(&mut self, most: Doing) -> bool {
        self.open.retain(|(_, task)| !task.is_finished());
        let open = self.open.iter().enumerate();
        let first = open.min_by_key(|(_, (client, _))| client.doing());
        let Some((index, _)) = first.filter(|(_, (client, _))| client.doing().0 <= most) else {
            return false;
        };
        let (_, task) = self.open.swap_remove(index);
        task.abort();
        true
    }
}

impl Client {
    /// The body of an answer, which tells when it was given.
    pub(crate) fn track(self: &Arc<Self>, answer: Answer) -> Tracked {
        self.begin(match &answer {
            Answer::Whole(_) => Doing::Answered,
            Answer::Events(_) => Doing::Listening,
        });
        Tracked {
            answer,
            client: self.clone(),
        }
    }

    /// It may ask for nothing: it is the first to go.
    pub(crate) fn on_refused(&self) {
        self.begin(Doing::Stranger);
    }

    /// It has sent a request to its end, and waits for the answer.
    pub(crate) fn on_request(&self) {
        self.begin(Doing::Answered);
    }

    fn begin(&self, doing: Doing) {
        let number = self.number.fetch_add(1, Relaxed);
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner) = (doing, number);
    }

    fn doing(&self) -> (Doing, u64) {
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of an answer to a client.
pub(crate) struct Tracked {
    answer: Answer,
    client: Arc<Client>,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        // What is left of it is in the server's and the kernel's buffers.
        self.client.begin(Doing::Silent);
    }
}

impl Body for Tracked {
    type Data = <Answer as Body>::Data;
    type Error = <Answer as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.answer).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn the_oldest_silent_one_goes_first_and_a_listener_last() {
        let mut clients = Clients::new(4);
        let mut tasks = Vec::new();
        let mut add = |clients: &mut Clients| {
            let client = clients.client();
            let task = tokio::spawn(pending::<()>());
            clients.add(client.clone(), task.abort_handle());
            tasks.push(task);
            client
        };
        let listener = add(&mut clients);
        listener.begin(Doing::Listening);
        let answered = add(&mut clients);
        answered.begin(Doing::Answered);
        let asked_again = add(&mut clients);
        let silent = add(&mut clients);
        // It had an answer meanwhile.
        drop(asked_again.track(String::from("a").into()));
        let newest = add(&mut clients);
        let left = |clients: &Clients| -> Vec<_> {
            clients
                .open
                .iter()
                .map(|(client, _)| Arc::as_ptr(client))
                .collect()
        };
        assert!(!left(&clients).contains(&Arc::as_ptr(&silent)));
        for gone in [&asked_again, &newest, &answered, &listener] {
            assert!(clients.close_one());
            assert!(!left(&clients).contains(&Arc::as_ptr(gone)));
        }
        assert!(!clients.close_one());
        for task in tasks {
            assert!(task.await.is_err_and(|error| error.is_cancelled()));
        }
    }

    #[tokio::test]
    async fn who_may_ask_for_nothing_goes_first_and_who_has_asked_stays() {
        let mut clients = Clients::new(4);
        let add = |clients: &mut Clients| {
            let client = clients.client();
            let task = tokio::spawn(pending::<()>());
            clients.add(client.clone(), task.abort_handle());
            (client, task)
        };
        let (asked, waits) = add(&mut clients);
        let (_silent, goes_second) = add(&mut clients);
        let (refused, goes_first) = add(&mut clients);
        asked.on_request();
        refused.on_refused();
        assert!(clients.close_silent());
        assert!(goes_first.await.is_err_and(|error| error.is_cancelled()));
        assert!(!goes_second.is_finished());
        assert!(clients.close_silent());
        assert!(goes_second.await.is_err_and(|error| error.is_cancelled()));
        assert!(!clients.close_silent(), "it waits for its answer");
        assert!(!waits.is_finished());
        waits.abort();
    }

    #[tokio::test]
    async fn connections_that_have_ended_count_no_more() {
        let mut clients = Clients::new(2);
        let over = tokio::spawn(async {});
        let lasting = tokio::spawn(pending::<()>());
        clients.add(clients.client(), lasting.abort_handle());
        clients.add(clients.client(), over.abort_handle());
        over.await.expect("it ends");
        clients.add(clients.client(), tokio::spawn(async {}).abort_handle());
        assert!(!lasting.is_finished());
        lasting.abort();
        assert!(lasting.await.is_err());
    }
}
