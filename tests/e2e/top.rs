//! `corelane top` on a terminal of the usual size.

use std::net::Ipv4Addr;

use rustix::process::Signal;

use crate::harness::child::Child;
use crate::harness::config::forward;
use crate::harness::peer;
use crate::harness::proxy::{Proxy, command};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::terminal::Terminal;
use crate::harness::wait;

each_scheduler!(clients_and_servers_are_whole_and_keys_work);

/// As long as an IPv4 address becomes, nearly.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 200, 200, 200);

fn clients_and_servers_are_whole_and_keys_work(scheduler: Scheduler) {
    let echo = peer::echo();
    let server = echo.address().to_string();
    let proxy = Proxy::start(scheduler, &forward(&[&server]));
    let client = peer::connect_from(CLIENT, proxy.address("main"));
    let address = client.local_addr().expect("an address").to_string();
    wait::until("the server has it", || echo.accepted() == 1);
    let mut terminal = Terminal::open(80, 24);
    let url = format!("http://{}", proxy.admin());
    let mut top = terminal.begin(|terminal| {
        Child::spawn_on_terminal(command().args(["top", &url]), terminal, Signal::KILL)
    });
    wait::until("the client is shown in full", || {
        terminal.shown(&address) > 0
    });
    // Of the upstream's table, and of the connection's.
    wait::until("the server is, too", || terminal.shown(&server) >= 2);
    terminal.press("?");
    wait::until("help is shown", || terminal.shown("any key goes back") > 0);
    terminal.press("x/nosuch");
    wait::until("a filter is typed", || {
        terminal.shown("Enter") > 0 && terminal.shown("all rows") > 0
    });
    // Now it is a letter.
    terminal.press("q\r?");
    wait::until("help is shown again", || {
        terminal.shown("any key goes back") > 1
    });
    terminal.press("xq");
    assert_eq!(top.wait().code(), Some(0));
    drop(client);
    proxy.stop();
}
