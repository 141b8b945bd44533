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
    // The upstream's table has the server, too.
    wait::until("both are shown in full", || {
        let lines = terminal.lines();
        let client = lines.iter().find(|line| line.contains(&address));
        let servers = lines.iter().filter(|line| line.contains(&server));
        client.is_some_and(|line| line.contains(&server)) && servers.count() == 2
    });
    terminal.press("?");
    let help = "any key goes back";
    wait::until("help is shown", || terminal.shows(help));
    terminal.press("x");
    wait::until("it is gone", || !terminal.shows(help));
    // There "q" is a letter.
    terminal.press("/nosuchq\r");
    wait::until("the filter is named", || {
        terminal.shows("not only \"nosuchq\"")
    });
    assert!(!terminal.shows(&address));
    terminal.press("\x1b");
    wait::until("all rows are shown again", || terminal.shows(&address));
    terminal.press("q");
    assert_eq!(top.wait().code(), Some(0));
    drop(client);
    proxy.stop();
}
