//! Where the state comes from: the admin server, asked once a second.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proxy_state::{Connections, State};

use crate::target::Target;

/// Time from an answer to the next question.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long each step may take: to connect, to send, to receive the next bytes.
const STEP_TIMEOUT: Duration = Duration::from_secs(3);

/// Connections that are asked for; those beyond are only counted.
const CONNECTIONS_MAX: usize = 500;

/// What came of asking.
#[derive(Debug)]
pub(super) enum Update {
    /// Without connections where the proxy doesn't list them.
    State(Box<State>, Option<Connections>),
    /// From now on only connections with these words come.
    Finds(String),
    /// The proxy can't be asked now; it may be restarting.
    Away(String),
}

/// A thread that asks. It ends soon after this is dropped.
pub(super) struct Source {
    updates: Receiver<Update>,
    /// Words that connections are looked for by; its end is the thread's.
    wanted: Sender<String>,
}

impl Source {
    /// Asks from now on.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub(super) fn start(target: Target) -> io::Result<Self> {
        let (send, updates) = mpsc::channel();
        let (wanted, asked) = mpsc::channel::<String>();
        thread::Builder::new()
            .name("corelane-top".to_owned())
            .spawn(move || {
                let mut find = String::new();
                loop {
                    let update =
                        ask(&target, &find).unwrap_or_else(|error| Update::Away(error.to_string()));
                    if send.send(update).is_err() {
                        return;
                    }
                    match asked.recv_timeout(INTERVAL) {
                        // Of several, the last one is meant.
                        Ok(words) => find = asked.try_iter().last().unwrap_or(words),
                        Err(RecvTimeoutError::Timeout) => continue,
                        Err(RecvTimeoutError::Disconnected) => return,
                    }
                    if send.send(Update::Finds(find.clone())).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self { updates, wanted })
    }

    /// Asks for connections with these words only, and at once.
    pub(super) fn find(&self, words: &str) {
        // A thread that has ended asks for nothing.
        let _ = self.wanted.send(words.to_owned());
    }

    /// An update that has come, if there is one.
    pub(super) fn next(&self) -> Option<Update> {
        match self.updates.try_recv() {
            Ok(update) => Some(update),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => None,
        }
    }
}

fn ask(target: &Target, find: &str) -> io::Result<Update> {
    let answer = target.get("/state", STEP_TIMEOUT)?;
    if answer.status != 200 {
        let what = match answer.status {
            // It says what to do.
            403 => answer.body.trim_end().to_owned(),
            status => format!("it answers /state with {status}: is this a corelane?"),
        };
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let state = serde_json::from_str(&answer.body)?;
    // An older proxy knows no `find`; without words it isn't asked for it.
    let find = match find {
        "" => String::new(),
        words => format!("&find={}", utf8_percent_encode(words, NON_ALPHANUMERIC)),
    };
    let path = format!("/connections?limit={CONNECTIONS_MAX}&sort=bytes{find}");
    let connections = target.get(&path, STEP_TIMEOUT)?;
    let connections = match connections.status {
        200 => Some(serde_json::from_str(&connections.body)?),
        _ => None,
    };
    Ok(Update::State(Box::new(state), connections))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Answers each connection with the next of `answers`, and ends.
    fn serve(answers: &'static [&'static str]) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).expect("a request");
                stream.write_all(answer.as_bytes()).expect("it reads");
            }
        });
        Target::url(&address.to_string(), None, None).expect("an address")
    }

    #[test]
    fn a_proxy_without_a_list_of_connections_is_enough() {
        let target = serve(&[
            "HTTP/1.0 200 OK\r\n\r\n{\"scheduler\":\"tokio\"}",
            "HTTP/1.0 404 Not Found\r\n\r\nnot found\n",
        ]);
        let Update::State(state, None) = ask(&target, "").expect("an answer") else {
            panic!("no state, or connections that nobody sent");
        };
        assert_eq!(state.scheduler, "tokio");
        // Now nobody listens there.
        assert!(ask(&target, "").is_err());
    }

    #[test]
    fn the_proxy_is_asked_for_what_is_looked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let target = Target::url(&address.to_string(), None, None).expect("an address");
        let source = Source::start(target).expect("a thread");
        source.find("core 1");
        source.find("é:7");
        let mut asked = Vec::new();
        while asked.len() < 4 {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 1024];
            let count = stream.read(&mut request).expect("a request");
            let request = String::from_utf8_lossy(&request[..count]).into_owned();
            asked.push(request.split(' ').nth(1).expect("a path").to_owned());
            let answer = "HTTP/1.0 200 OK\r\n\r\n{}";
            stream.write_all(answer.as_bytes()).expect("it reads");
        }
        assert_eq!(
            [&asked[1][..], &asked[3]],
            [
                "/connections?limit=500&sort=bytes",
                "/connections?limit=500&sort=bytes&find=%C3%A9%3A7"
            ]
        );
        let mut updates = source.updates.iter();
        assert!(matches!(updates.next(), Some(Update::State(..))));
        assert!(matches!(updates.next(), Some(Update::Finds(words)) if words == "é:7"));
    }

    #[test]
    fn connections_come_with_the_state() {
        let target = serve(&[
            "HTTP/1.0 200 OK\r\n\r\n{}",
            "HTTP/1.0 200 OK\r\n\r\n{\"total\":3,\"shown\":1,\"connections\":[{\"id\":7,\"server\":null}]}",
        ]);
        let Update::State(_, Some(connections)) = ask(&target, "").expect("an answer") else {
            panic!("no connections");
        };
        assert_eq!((connections.total, connections.connections[0].id), (3, 7));
    }

    #[test]
    fn another_server_is_told_as_one() {
        let error = ask(&serve(&["HTTP/1.0 404 Not Found\r\n\r\n"]), "").expect_err("no state");
        assert!(error.to_string().contains("is this a corelane?"), "{error}");
    }
}
