//! What becomes of connections that may not stay: their server is down or removed, or their time is over.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::harness::change;
use crate::harness::config::{forward_with, route};
use crate::harness::limit;
use crate::harness::peer;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    connections_of_a_server_that_is_down_end_as_the_upstream_says,
    ends_go_on_over_a_reload_and_a_switch_until_the_server_is_up,
    a_thousand_connections_of_a_removed_server_end_over_a_time,
    connections_of_a_server_that_a_source_names_no_more_end,
    who_has_time_until_the_end_is_closed_before,
);

fn ended(proxy: &Proxy, cause: &str) -> f64 {
    proxy.metric("corelane_listener_ended_total", &[("cause", cause)])
}

fn try_exchange(mut client: &TcpStream) -> io::Result<()> {
    client.write_all(b"still here")?;
    let mut answer = [0; 10];
    client.read_exact(&mut answer)?;
    assert_eq!(&answer, b"still here");
    Ok(())
}

fn exchange(client: &TcpStream) {
    try_exchange(client).expect("it goes on");
}

fn established(proxy: &Proxy, listener: &str) -> TcpStream {
    let client = proxy.connect(listener);
    exchange(&client);
    client
}

/// Takes those out whose stream has ended, in an orderly manner. Returns how many.
fn take_closed(clients: &mut Vec<TcpStream>) -> usize {
    let before = clients.len();
    clients.retain(|mut client| {
        client.set_nonblocking(true).expect("nonblocking");
        let read = client.read(&mut [0; 16]);
        client.set_nonblocking(false).expect("blocking");
        match read {
            Ok(0) => false,
            Ok(_) => panic!("a byte that nobody sent"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            Err(error) => panic!("not an orderly end: {error}"),
        }
    });
    before - clients.len()
}

/// An echo that stops listening while its connections go on.
struct Leaving {
    address: SocketAddr,
    listener: Mutex<Option<Arc<TcpListener>>>,
}

impl Leaving {
    fn start() -> Self {
        // None of those that the kernel gives to others meanwhile.
        let leaving = Self {
            address: peer::refusing(),
            listener: Mutex::default(),
        };
        leaving.listen_again();
        leaving
    }

    fn serve(&self, listener: TcpListener) {
        listener.set_nonblocking(true).expect("nonblocking");
        let listener = Arc::new(listener);
        let weak = Arc::downgrade(&listener);
        *self.listener.lock().expect("not poisoned") = Some(listener);
        thread::spawn(move || {
            while let Some(listener) = weak.upgrade() {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(false).expect("blocking");
                    thread::spawn(move || io::copy(&mut &stream, &mut &stream));
                }
                drop(listener);
                thread::sleep(Duration::from_millis(5));
            }
        });
    }

    fn stop_listening(&self) {
        let listener = self.listener.lock().expect("not poisoned").take();
        // A process that another test starts just now has it, too.
        let listener = listener.expect("it listens");
        let _ = SockRef::from(&*listener).shutdown(Shutdown::Both);
    }

    fn listen_again(&self) {
        let mut listener = None;
        wait::until("its port is free", || {
            listener = TcpListener::bind(self.address).ok();
            listener.is_some()
        });
        self.serve(listener.expect("bound"));
    }

    fn wait_until(&self, proxy: &Proxy, state: &str) {
        let server = self.address.to_string();
        let labels = [("server", &server[..]), ("state", state)];
        wait::until(&format!("checks say that it is {state}"), || {
            let states = proxy.metrics();
            let name = "corelane_upstream_server_state";
            states.series(name, &labels).all(|(_, value)| value == 1.0)
        });
    }
}

const CHECKS: &str = "health]\ninterval = \"100ms\"\ntimeout = \"10s\"\nrise = 1\nfall = 2\n";

fn connections_of_a_server_that_is_down_end_as_the_upstream_says(scheduler: Scheduler) {
    const FATES: [&str; 3] = ["keep", "reset", "close"];
    let server = Leaving::start();
    let own = server.address.to_string();
    let routes = FATES.map(|fate| {
        let upstream =
            format!("on_down = \"{fate}\"\nclose_over = \"100ms\"\n[upstreams.{fate}.{CHECKS}");
        route(fate, "127.0.0.1:0", &[&own], "", &upstream)
    });
    let proxy = Proxy::start(scheduler, &routes.concat());
    let mut clients = FATES.map(|fate| [(); 2].map(|()| established(&proxy, fate)));
    server.stop_listening();
    server.wait_until(&proxy, "down");
    let [kept, reset, closed] = &mut clients;
    for client in reset {
        assert_eq!(peer::end_of(client), Some(ErrorKind::ConnectionReset));
    }
    for client in closed {
        assert_eq!(peer::end_of(client), None);
    }
    kept.iter().for_each(exchange);
    wait::until("the ends are counted", || {
        let of = |listener| {
            let labels = [("listener", listener), ("cause", "server_down")];
            proxy.metric("corelane_listener_ended_total", &labels)
        };
        FATES.map(of) == [0.0, 2.0, 2.0]
    });
    server.listen_again();
    server.wait_until(&proxy, "up");
    drop(FATES.map(|fate| established(&proxy, fate)));
    drop(clients);
    proxy.stop();
}

fn ends_go_on_over_a_reload_and_a_switch_until_the_server_is_up(scheduler: Scheduler) {
    const CLIENTS: usize = 100;
    let server = Leaving::start();
    let own = server.address.to_string();
    let routes = |line: &str, cores| {
        let upstream =
            format!("on_down = \"reset\"\nclose_over = \"40s\"\n{line}\n[upstreams.main.{CHECKS}");
        let routes = forward_with(&[&own], "", &upstream);
        change::text(scheduler, cores, "", &routes)
    };
    let proxy = Proxy::start_file(&routes("", 2));
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| established(&proxy, "main")).collect();
    server.stop_listening();
    let more = |what: &str| {
        let before = ended(&proxy, "server_down");
        wait::until(&format!("one ends more, {what}"), || {
            ended(&proxy, "server_down") > before
        });
    };
    more("after the verdict");
    change::reload(&proxy, &routes("slow_start = \"1s\"", 2));
    more("after a reload");
    change::switch(&proxy, &routes("slow_start = \"1s\"", 1));
    more("after a switch");
    server.listen_again();
    server.wait_until(&proxy, "up");
    // What the verdict has set is lifted a moment later.
    wait::until("its connections are spared", || {
        proxy
            .log()
            .contains("those of its connections that are left stay")
    });
    let (mut left, mut count) = (0, 0.0);
    wait::until("all are accounted for", || {
        let alive = clients.iter().filter(|client| try_exchange(client).is_ok());
        left = alive.count();
        count = ended(&proxy, "server_down");
        left as f64 + count == CLIENTS as f64
    });
    assert!(left > 0, "all have ended");
    // More than one would end meanwhile.
    thread::sleep(Duration::from_millis(600));
    clients.retain(|client| try_exchange(client).is_ok());
    assert_eq!(clients.len(), left);
    drop(clients);
    wait::until("the others end by themselves", || {
        ended(&proxy, "finished") == left as f64
    });
    assert_eq!(ended(&proxy, "server_down"), count);
    proxy.stop();
}

/// They come back as they go: not all at once. Those of the other server stay.
fn a_thousand_connections_of_a_removed_server_end_over_a_time(scheduler: Scheduler) {
    const CLIENTS: usize = 1000;
    const OVER: Duration = Duration::from_secs(1);
    let _alone = limit::alone();
    let other = peer::echo();
    let stays = other.address().to_string();
    let upstream = "on_removed = \"reset\"\nclose_over = \"1s\"";
    let both = forward_with(&["builtin:echo", &stays], "", upstream);
    let proxy = Proxy::start(scheduler, &both);
    // By turns.
    let (mut leave, mut stay) = (Vec::new(), Vec::new());
    for place in 0..2 * CLIENTS {
        let client = established(&proxy, "main");
        let is_first = place.is_multiple_of(2);
        if is_first {
            leave.push(client);
        } else if stay.len() < 10 {
            stay.push(client);
        }
    }
    for client in &leave {
        client.set_nonblocking(true).expect("nonblocking");
    }
    let begun_at = Instant::now();
    proxy.reload(scheduler, &forward_with(&[&stays], "", upstream));
    let mut ends = Vec::with_capacity(CLIENTS);
    wait::until("all have ended", || {
        leave.retain(|mut client| match client.read(&mut [0; 16]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                ends.push(begun_at.elapsed());
                false
            }
            other => panic!("not a reset: {other:?}"),
        });
        leave.is_empty()
    });
    // A machine that is busy makes them later, never earlier.
    let within = |part: Duration| ends.iter().filter(|&&end| end < part).count();
    for quarter in 1..4 {
        let most = CLIENTS * quarter as usize / 4 + CLIENTS / 8;
        let ended = within(OVER / 4 * quarter);
        assert!(ended <= most, "{ended} within {quarter} quarters");
    }
    wait::until("all ends are counted", || {
        ended(&proxy, "server_removed") == CLIENTS as f64
    });
    stay.iter().for_each(exchange);
    drop(stay);
    proxy.stop();
}

fn connections_of_a_server_that_a_source_names_no_more_end(scheduler: Scheduler) {
    let (first, second) = (peer::echo(), peer::echo());
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("servers.json");
    let name = |servers: &[&peer::Service]| {
        let servers: Vec<_> = servers
            .iter()
            .map(|one| one.address().to_string())
            .collect();
        let new = directory.path().join("new");
        fs::write(&new, format!("{servers:?}")).expect("write");
        fs::rename(&new, &file).expect("rename");
    };
    name(&[&first, &second]);
    let routes = format!(
        "[listeners.main]\nbind = \"127.0.0.1:0\"\nupstream = \"main\"\n\
         [upstreams.main]\non_removed = \"reset\"\nclose_over = \"100ms\"\n\
         [upstreams.main.discovery]\nfile = {file:?}\n"
    );
    let proxy = Proxy::start(scheduler, &routes);
    // By turns.
    let clients = [(); 4].map(|()| established(&proxy, "main"));
    name(&[&second]);
    wait::until("both ends are counted", || {
        ended(&proxy, "server_removed") == 2.0
    });
    let ends = clients.iter().map(try_exchange);
    let kinds = ends.filter_map(Result::err).map(|error| error.kind());
    assert_eq!(kinds.collect::<Vec<_>>(), [ErrorKind::ConnectionReset; 2]);
    let own = second.address().to_string();
    let labels = [("server", &own[..])];
    assert_eq!(proxy.metric("corelane_upstream_connections", &labels), 2.0);
    drop(clients);
    proxy.stop();
}

/// A listener is removed, a scheduler left, the proxy stopped: nobody is reset who is quiet, and few end at the same moment.
fn who_has_time_until_the_end_is_closed_before(scheduler: Scheduler) {
    const CLIENTS: usize = 400;
    let (first, second) = ("first", "second");
    let text = |names: &[&str], cores| {
        let routes = names.iter();
        let routes = routes.map(|name| route(name, "127.0.0.1:0", &["builtin:echo"], "", ""));
        let runtime = "drain_timeout = \"60s\"\nclose_over = \"60s\"\non_switch = \"drain\"\n";
        change::text(scheduler, cores, runtime, &routes.collect::<String>())
    };
    let mut proxy = Proxy::start_file(&text(&[first, second], 2));
    let begin = |listener: &str| -> Vec<_> {
        let clients = (0..CLIENTS).map(|_| established(&proxy, listener));
        clients.collect()
    };
    let first_few_close = |clients: &mut Vec<_>, why: &str| {
        let mut closed = 0;
        wait::until(&format!("one is closed as {why}"), || {
            closed += take_closed(clients);
            closed > 0
        });
        assert!(closed < CLIENTS / 2, "{closed} at once as {why}");
    };
    let (mut of_first, mut of_second) = (begin(first), begin(second));
    change::reload(&proxy, &text(&[second], 2));
    first_few_close(&mut of_first, "their listener is removed");
    drop(of_first);
    assert_eq!(take_closed(&mut of_second), 0);
    change::reload(&proxy, &text(&[second], 1));
    first_few_close(&mut of_second, "their scheduler is left");
    let mut of_next = begin(second);
    proxy.terminate();
    first_few_close(&mut of_next, "the proxy is stopped");
    drop((of_second, of_next));
    assert_eq!(proxy.wait().code(), Some(0));
}
