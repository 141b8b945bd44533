//! Addresses that stay, go, or get another listener.

use std::net::{SocketAddr, TcpStream};

use super::*;

fn config(listeners: &[(&str, &str)]) -> Config {
    let mut text = "[upstreams.u]\nservers = [\"10.0.0.1:80\"]\n".to_owned();
    for (name, binds) in listeners {
        text += &format!("[listeners.{name}]\nbind = {binds}\nupstream = \"u\"\n");
    }
    let parsed = proxy_config::parse(&text, "test");
    parsed.unwrap_or_else(|error| panic!("{error}")).config
}

fn rebind(sockets: &Sockets, listeners: &[(&str, &str)]) -> Rebound {
    let rebinding = sockets
        .prepare(&config(listeners), 2, &|_| false, Preparing::All)
        .unwrap();
    sockets.rebind(rebinding)
}

fn names(rebound: &Rebound) -> Vec<&str> {
    rebound.listening.keys().map(String::as_str).collect()
}

/// The address of a listener's first socket.
fn address(sockets: &Sockets, listener: &str) -> SocketAddr {
    let all = sockets.lock();
    let socket = &all[listener].binds[0].sockets[0];
    let address = socket2::SockRef::from(&socket.descriptor).local_addr();
    address.unwrap().as_socket().unwrap()
}

const ANY: &str = r#""127.0.0.1:0""#;

#[test]
fn who_waits_at_an_address_that_stays_is_kept_whoever_has_it() {
    let sockets = Sockets::default();
    let first = rebind(&sockets, &[("web", ANY)]);
    assert_eq!(names(&first), ["web"]);
    let at = address(&sockets, "web");
    let _clients: Vec<_> = (0..8).map(|_| TcpStream::connect(at).unwrap()).collect();
    assert_eq!(sockets.waiting("web"), 8);
    // Nothing changes for workers.
    let same = rebind(&sockets, &[("web", ANY)]);
    assert!(same.listening.is_empty());
    let renamed = rebind(&sockets, &[("www", ANY)]);
    assert_eq!(names(&renamed), ["www"]);
    assert_eq!(renamed.listening["www"][0].len(), 2);
    drop(renamed);
    drop(first);
    assert_eq!((address(&sockets, "www"), sockets.waiting("www")), (at, 8));
    let more = rebind(
        &sockets,
        &[("www", r#"["127.0.0.1:0", "127.0.0.1:0"]"#), ("a", ANY)],
    );
    assert_eq!(names(&more), ["a", "www"]);
    assert_eq!(more.listening["www"].len(), 2, "all of its addresses");
    assert_eq!((address(&sockets, "www"), sockets.waiting("www")), (at, 8));
    let gone = rebind(&sockets, &[("a", ANY)]);
    assert!(gone.listening.is_empty());
    drop((gone, more));
    TcpStream::connect(at).expect_err("nobody listens there");
    TcpStream::connect(address(&sockets, "a")).expect("it stayed");
}

#[test]
fn names_that_come_and_go_are_forgotten() {
    let sockets = Sockets::default();
    for name in 0..RETIRED_MAX + 20 {
        drop(rebind(
            &sockets,
            &[(&format!("l{name}"), ANY), ("web", ANY)],
        ));
    }
    // One of them has a socket.
    assert_eq!(sockets.lock().len(), RETIRED_MAX + 2);
    assert!(sockets.lock().contains_key("web"));
}

#[test]
fn what_cannot_be_listened_on_changes_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("{:?}", taken.local_addr().unwrap().to_string());
    let occupied = std::net::TcpListener::bind(taken.trim_matches('"'));
    let sockets = Sockets::default();
    drop(rebind(&sockets, &[("web", ANY)]));
    let at = address(&sockets, "web");
    let Ok(_occupied) = occupied else {
        return;
    };
    let new = config(&[("b", ANY), ("c", &taken)]);
    let error = sockets.prepare(&new, 2, &|_| false, Preparing::All);
    let error = error.err().expect("it is in use");
    assert!(error.to_string().contains("[listeners.c]"), "{error}");
    TcpStream::connect(at).expect("it listens still");
    assert_eq!(sockets.lock().keys().collect::<Vec<_>>(), ["web"]);
}

/// How many of some clients the kernel takes, while nobody is accepted.
fn taken(sockets: &Sockets, listener: &str) -> usize {
    const CLIENTS: usize = 12;
    let at = address(sockets, listener);
    // Who is taken is so at once, or as soon as a busy machine comes to it.
    let patience = std::time::Duration::from_secs(1);
    let clients: Vec<_> = (0..CLIENTS)
        .map_while(|_| TcpStream::connect_timeout(&at, patience).ok())
        .collect();
    clients.len()
}

#[test]
fn an_address_has_the_backlog_of_the_listener_that_has_it_now() {
    let sockets = Sockets::default();
    let (one, other) = (ANY, r#""127.0.0.2:0""#);
    let few = |bind: &str| format!("{bind}\nbacklog = 1");
    drop(rebind(&sockets, &[("few", &few(one)), ("many", other)]));
    let swapped = rebind(&sockets, &[("few", &few(other)), ("many", one)]);
    assert_eq!(names(&swapped), ["few", "many"]);
    drop(swapped);
    // Two sockets with one client each, of which Linux takes one more.
    assert!(taken(&sockets, "few") <= 4);
    assert_eq!(taken(&sockets, "many"), 12);
}

#[test]
fn a_unix_socket_goes_with_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let bind = format!("\"unix:{}\"", path.display());
    let sockets = Sockets::default();
    let first = rebind(&sockets, &[("web", &bind)]);
    assert!(path.exists());
    let renamed = rebind(&sockets, &[("www", &bind)]);
    drop((first, renamed));
    std::os::unix::net::UnixStream::connect(&path).expect("it listens");
    let gone = rebind(&sockets, &[("www", ANY)]);
    assert!(!path.exists());
    drop(gone);
}

#[test]
fn a_file_that_somebody_removed_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let bind = format!("\"unix:{}\"", path.display());
    let sockets = Sockets::default();
    let first = rebind(&sockets, &[("web", &bind)]);
    assert!(rebind(&sockets, &[("web", &bind)]).listening.is_empty());
    std::fs::remove_file(&path).unwrap();
    let again = rebind(&sockets, &[("web", &bind)]);
    assert_eq!(names(&again), ["web"]);
    std::os::unix::net::UnixStream::connect(&path).expect("it listens");
    assert!(rebind(&sockets, &[("web", &bind)]).listening.is_empty());
    drop((first, again));
}

/// Who comes to an address that overlaps a new one goes to the old socket until the change is certain.
#[test]
fn a_change_that_is_not_to_be_takes_no_client() {
    let sockets = Sockets::default();
    let port = {
        let _first = rebind(&sockets, &[("web", r#""0.0.0.0:0""#)]);
        address(&sockets, "web").port()
    };
    let narrower = format!("\"127.0.0.1:{port}\"");
    let prepared = sockets.prepare(
        &config(&[("web", &narrower)]),
        2,
        &|_| false,
        Preparing::All,
    );
    let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(sockets.waiting("web"), 1);
    drop(prepared);
    let _narrow = rebind(&sockets, &[("web", &narrower)]);
    let _other = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(sockets.waiting("web"), 1, "at the new one");
}

/// A switch of the same reload joins sockets to those of who has the address before.
#[test]
fn the_admin_server_gets_all_sockets_that_a_switch_joins() {
    let sockets = Sockets::default();
    let _first = rebind(&sockets, &[("web", ANY)]);
    let any = BindAddress::Tcp(([127, 0, 0, 1], 0).into());
    let bound = listen::bind(&any, 16, 1).unwrap();
    sockets.own_admin(config(&[("web", ANY)]).admin.listen.into(), bound);
    let at = address(&sockets, "web");
    let text = format!(
        "[admin]\nlisten = \"{at}\"\n[listeners.web]\nbind = \"127.0.0.2:0\"\nupstream = \"u\"\n\
         [upstreams.u]\nservers = [\"10.0.0.1:80\"]\n"
    );
    let new = proxy_config::parse(&text, "test").unwrap().config;
    let prepared = sockets
        .prepare(&new, 4, &|_| false, Preparing::All)
        .unwrap();
    sockets.lend("web", 4).unwrap();
    let rebound = sockets.rebind(prepared);
    let lent = rebound.listening[super::super::ADMIN][0].len();
    assert_eq!((lent, sockets.count(super::super::ADMIN)), (4, 4));
}

/// A port that the kernel chose may be written down then.
#[test]
fn the_port_that_there_is_stays() {
    let sockets = Sockets::default();
    let _first = rebind(&sockets, &[("web", ANY)]);
    let at = address(&sockets, "web");
    let _client = TcpStream::connect(at).unwrap();
    let same = rebind(&sockets, &[("web", &format!("{:?}", at.to_string()))]);
    assert!(same.listening.is_empty());
    assert_eq!(sockets.waiting("web"), 1);
}

#[test]
fn a_check_says_what_a_reload_would_and_takes_nothing() {
    let sockets = Sockets::default();
    let _first = rebind(&sockets, &[("web", ANY)]);
    let own = address(&sockets, "web");
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = occupied.local_addr().unwrap();
    let check = |bind: &str| sockets.check(&config(&[("web", bind)]), &|_| false);
    let wider = format!("\"0.0.0.0:{}\"", own.port());
    for free in [ANY, &format!("\"{own}\""), &wider] {
        check(free).unwrap();
    }
    let refused = check(&format!("\"{taken}\"")).unwrap_err();
    assert!(refused.to_string().contains("[listeners.web]"), "{refused}");
    check("\"unix:/nonexistent/socket\"").unwrap_err();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    check(&format!("\"unix:{}\"", path.display())).unwrap();
    assert!(!path.exists());
    std::fs::write(&path, "a file").unwrap();
    check(&format!("\"unix:{}\"", path.display())).unwrap_err();
}
