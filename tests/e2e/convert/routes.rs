//! Who is let in, and which servers get them: by name, by list, by what a balancer announces, by what is said first, by rules in their order.

use std::io::Write;

use super::scripts::{answers, counts, mail, number};
use super::site::Site;
use super::{NOTHING, under_each};
use crate::harness::hello::client_hello;
use crate::harness::peer::connect_from;

/// Names decide; the servers get the hello that was heard.
#[test]
fn tls_by_name() {
    under_each(|scheduler| {
        let site = Site::new("sni.cfg").with("option ssl-hello-chk", "");
        let ports = [
            (61, 443),
            (62, 443),
            (63, 993),
            (64, 8443),
            (65, 8443),
            (66, 443),
        ];
        let _servers = ports.map(|(number, port)| answers(site.server(number, port), number));
        let pair = site.start(scheduler, false);
        let hello = |name: &str| client_hello(name, b"h2");
        pair.agree(443, &hello("mail.example.com"), &[(63, 2)]);
        pair.agree(443, &hello("IMAP.example.com"), &[(63, 2)]);
        pair.agree(443, &hello("a.b.apps.example.com"), &[(64, 6), (65, 2)]);
        pair.agree(443, &hello("office.example.com"), &[(66, 2)]);
        for address in pair.both(443) {
            let counts = counts(address, 4, &hello("apps.example.com"));
            assert!(
                counts == [(61, 4)].into() || counts == [(62, 4)].into(),
                "{counts:?}"
            );
        }
    });
}

#[test]
fn mail_with_lists() {
    under_each(|scheduler| {
        let site = Site::new("smtp.cfg")
            .with("203.0.113.0/24 203.0.113.77", "127.9.0.0/24 127.9.0.77")
            .with("203.0.113.128/25", "127.9.0.128/25");
        let mut servers = [71, 72, 73].map(|number| Some(mail(site.server(number, 25), number)));
        let pair = site.start(scheduler, false);
        pair.agree(25, NOTHING, &[(71, 3), (72, 3)]);
        for address in pair.both(25) {
            let from =
                |client: [u8; 4]| number(&mut connect_from(client.into(), address)).is_some();
            assert!(from([127, 0, 0, 9]), "{address}");
            assert!(!from([127, 9, 0, 77]), "{address}");
            assert!(from([127, 9, 0, 200]), "{address}");
        }
        servers[0] = None;
        pair.agree(25, NOTHING, &[(72, 4)]);
        servers[1] = None;
        pair.agree(25, NOTHING, &[(73, 4)]);
    });
}

/// What a balancer says before its client does.
fn announced(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 198.51.100.1 4000 443\r\nhello").into_bytes()
}

#[test]
fn behind_a_balancer() {
    under_each(|scheduler| {
        let site = Site::new("behind.cfg");
        let _servers = [81, 82].map(|number| answers(site.server(number, 443), number));
        let pair = site.start(scheduler, false);
        for address in pair.both(8443) {
            let meets = |peer: [u8; 4], said: &[u8]| {
                let mut stream = connect_from(peer.into(), address);
                let _ = stream.write_all(said);
                number(&mut stream)
            };
            let balancer = [127, 0, 0, 1];
            assert!(
                matches!(meets(balancer, &announced("198.51.100.7")), Some(81 | 82)),
                "{address}"
            );
            assert_eq!(meets(balancer, &announced("192.0.2.66")), None, "{address}");
            assert_eq!(meets(balancer, b"no header at all\r\n"), None, "{address}");
            assert_eq!(
                meets([127, 0, 0, 5], &announced("198.51.100.7")),
                None,
                "{address}"
            );
        }
    });
}

/// SSH and TLS on one port; another upstream stands in; and the part that is HTTP is lost.
#[test]
fn mixed() {
    under_each(|scheduler| {
        let site = Site::new("mixed.cfg").with(
            "server s1 192.0.2.131:22 check",
            "server s1 192.0.2.131:22 check inter 1s",
        );
        let mut ssh = Some(answers(site.server(131, 22), 131));
        let _others = [(132, 22), (133, 443), (134, 443)]
            .map(|(number, port)| answers(site.server(number, port), number));
        let pair = site.start(scheduler, true);
        let says_ssh = b"SSH-2.0-test\r\n";
        pair.agree(2222, says_ssh, &[(131, 2)]);
        pair.agree(
            2222,
            &client_hello("a.example.com", b"h2"),
            &[(133, 2), (134, 2)],
        );
        let behind = [
            &b"PROXY TCP4 198.51.100.7 198.51.100.1 4000 22\r\n"[..],
            says_ssh,
        ]
        .concat();
        pair.agree(2223, &behind, &[(131, 2)]);
        drop(ssh.take());
        pair.agree(2222, says_ssh, &[(132, 2)]);
    });
}

/// Who is refused by one is refused by the other, also by the rules of a backend and after those that accept.
#[test]
fn rules_in_their_order() {
    under_each(|scheduler| {
        let site = Site::new("rules.cfg");
        let _servers = [151, 152].map(|number| answers(site.server(number, 443), number));
        let pair = site.start(scheduler, false);
        let [first, other] =
            ["a.example.com", "b.example.com"].map(|name| client_hello(name, b"h2"));
        let plain = b"no hello at all\r\n";
        for port in [8443, 8444] {
            pair.agree(port, &first, &[(151, 2)]);
            pair.agree(port, &other, &[(0, 2)]);
            pair.agree(port, plain, &[(0, 2)]);
        }
        pair.agree(8445, &first, &[(152, 2)]);
        pair.agree(8445, &other, &[(0, 2)]);
        pair.agree(8445, plain, &[(151, 2)]);
    });
}
