//! The order of filter chains. Envoy narrows them down by one thing after the other (the port, the name, TLS, the protocol, who has
//! connected, the client), each time to the most specific value that suits, and never goes back: who none of the chains takes that
//! are left goes to the default one. So the routes for a value end with one for all others that it means.

use super::super::intersection::Condition;
use super::super::origin::Origin;
use super::asked::{Case, Chain, To};
use super::level::Level;

/// Values after another one that are compared with it; of more it is taken for granted that they share connections.
const COMPARED_MAX: usize = 1000;

/// Routes of a listener.
const ROUTES_MAX: usize = 10_000;

/// What chains are narrowed down by, in this order.
const LEVELS: [Level; 6] = [
    Level::Port,
    Level::Name,
    Level::Tls,
    Level::Protocol,
    Level::Peer,
    Level::Source,
];

/// The cases of chains, in order. `others` takes who no chain does, and is not among the cases.
///
/// # Errors
/// If they are too many.
pub(super) fn cases(chains: &[Chain], others: &To) -> Result<Vec<Case>, String> {
    let mut order = Order {
        cases: Vec::new(),
        others,
    };
    let all: Vec<_> = chains.iter().collect();
    order.add(&all, &LEVELS, &[], false)?;
    Ok(order.cases)
}

struct Order<'o> {
    cases: Vec<Case>,
    others: &'o To,
}

impl Order<'_> {
    /// Adds the cases of the chains that are left, for connections of these conditions. `is_caught`: a later case may take those that
    /// none of them does, which must go to the others then.
    fn add(
        &mut self,
        chains: &[&Chain],
        levels: &[Level],
        conditions: &[Condition],
        is_caught: bool,
    ) -> Result<(), String> {
        let Some((level, below)) = levels.split_first() else {
            // Envoy takes no two chains that ask for the same.
            return self.push(conditions, &chains[0].to, &chains[0].from);
        };
        if *level == Level::Tls {
            return self.add_by_tls(chains, below, conditions, is_caught);
        }
        let (rest, groups) = level.groups(chains);
        for (place, group) in groups.iter().enumerate() {
            let mut narrower = conditions.to_vec();
            narrower.push((level.key(), group.values.clone()));
            let later = &groups[place + 1..];
            let is_caught = is_caught
                || !rest.is_empty()
                || later.len() > COMPARED_MAX
                || later.iter().any(|later| level.share(group, later));
            self.add(&group.chains, below, &narrower, is_caught)?;
        }
        match rest.is_empty() {
            false => self.add(&rest, below, conditions, is_caught),
            // Who has none of the values.
            true if is_caught => self.push_others(conditions, chains),
            true => Ok(()),
        }
    }

    /// Clients of TLS are known by their name here. Those within a name are all of TLS.
    fn add_by_tls(
        &mut self,
        chains: &[&Chain],
        below: &[Level],
        conditions: &[Condition],
        is_caught: bool,
    ) -> Result<(), String> {
        let of = |wanted: Option<bool>| {
            let found = chains.iter().filter(|chain| chain.asked.is_tls == wanted);
            found.copied().collect::<Vec<_>>()
        };
        let (tls, plain, any) = (of(Some(true)), of(Some(false)), of(None));
        let with_tls = if tls.is_empty() { &any } else { &tls };
        let without = if plain.is_empty() { &any } else { &plain };
        let has_name = conditions.iter().any(|(key, _)| *key == "sni");
        let is_one = tls.is_empty() && plain.is_empty();
        if has_name || is_one {
            return match with_tls.is_empty() {
                false => self.add(with_tls, below, conditions, is_caught),
                true if is_caught => self.push_others(conditions, chains),
                true => Ok(()),
            };
        }
        let mut named = conditions.to_vec();
        named.push(("sni", vec!["*".to_owned()]));
        if with_tls.is_empty() {
            if is_caught || !without.is_empty() {
                self.push_others(&named, chains)?;
            }
        } else {
            self.add(with_tls, below, &named, is_caught || !without.is_empty())?;
        }
        match without.is_empty() {
            false => self.add(without, below, conditions, is_caught),
            true if is_caught => self.push_others(conditions, chains),
            true => Ok(()),
        }
    }

    fn push_others(&mut self, conditions: &[Condition], chains: &[&Chain]) -> Result<(), String> {
        let from = &chains[0].from;
        let others = self.others.clone();
        let from = from.part("Envoy looks at no other chain then");
        self.push(conditions, &others, &from)
    }

    fn push(&mut self, conditions: &[Condition], to: &To, from: &Origin) -> Result<(), String> {
        if self.cases.len() >= ROUTES_MAX {
            return Err(format!(
                "its chains would become more than {ROUTES_MAX} routes"
            ));
        }
        self.cases.push(Case {
            conditions: conditions.to_vec(),
            to: to.clone(),
            from: from.clone(),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::super::access::network;
    use super::super::asked::Asked;
    use super::*;

    /// Chains such as `a: names=x,y sources=10.0.0.0/8`.
    fn chain(text: &str) -> Chain {
        let (to, rest) = text.split_once(':').expect("a name");
        let mut asked = Asked::default();
        for part in rest.split_whitespace() {
            let (key, values) = part.split_once('=').expect("values");
            let texts: Vec<String> = values.split(',').map(str::to_owned).collect();
            let nets = || {
                texts
                    .iter()
                    .map(|text| network(text).expect("a network"))
                    .collect()
            };
            match key {
                "port" => asked.port = values.parse().ok(),
                "tls" => asked.is_tls = values.parse().ok(),
                "names" => asked.names = texts,
                "protocols" => asked.protocols = texts,
                "peers" => asked.peers = nets(),
                _ => asked.sources = nets(),
            }
        }
        Chain {
            asked,
            to: To::Upstream(to.to_owned()),
            from: Origin::new(&Rc::from("a"), 1, text),
        }
    }

    fn shown(chains: &[&str]) -> String {
        let chains: Vec<_> = chains.iter().map(|text| chain(text)).collect();
        let cases = cases(&chains, &To::Reject).expect("few");
        let cases = cases.iter().map(|case| {
            let conditions = case.conditions.iter();
            let conditions: Vec<_> = conditions
                .map(|(key, values)| format!("{key}={}", values.join(",")))
                .collect();
            let to = match &case.to {
                To::Upstream(name) => name,
                _ => "-",
            };
            format!("{} {to}", conditions.join(" ")).trim().to_owned()
        });
        cases.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn the_most_specific_one_is_taken_and_there_is_no_way_back() {
        for (chains, expected) in [
            (&["a:"][..], "a"),
            (
                &["a: names=x,*.y", "b: names=z.y", "c:"],
                "sni=x a; sni=z.y b; sni=*.y a; c",
            ),
            (
                &["a: names=a.x sources=10.0.0.0/8", "b: names=*.x", "c:"],
                "sni=a.x source=10.0.0.0/8 a; sni=a.x -; sni=*.x b; c",
            ),
            (
                &["a: sources=0.0.0.0/0,10.1.0.0/16", "b: sources=10.0.0.0/8"],
                "source=10.1.0.0/16 a; source=10.0.0.0/8 b; a",
            ),
            // Nothing else could take who is left.
            (
                &["a: names=x sources=10.0.0.0/8", "b: names=y"],
                "sni=x source=10.0.0.0/8 a; sni=y b",
            ),
            (
                &["a: port=1 names=x", "b: names=x", "c:"],
                "port=1 sni=x a; port=1 -; sni=x b; c",
            ),
            (
                &[
                    "a: sources=10.0.0.0/8",
                    "b: sources=10.1.0.0/16,::1",
                    "c: sources=0.0.0.0/0",
                ],
                "source=::1,10.1.0.0/16 b; source=10.0.0.0/8 a; c",
            ),
            (
                &[
                    "a: peers=10.1.0.0/16 sources=127.0.0.1",
                    "b: peers=10.0.0.0/8",
                ],
                "peer=10.1.0.0/16 source=127.0.0.1 a; peer=10.1.0.0/16 -; peer=10.0.0.0/8 b",
            ),
            (
                &["a: protocols=h2 sources=10.0.0.0/8", "b: protocols=x"],
                "alpn=h2 source=10.0.0.0/8 a; alpn=h2 -; alpn=x b",
            ),
            (&["a: tls=false", "b:"], "sni=* b; a"),
            (&["a: tls=true", "b: tls=false"], "sni=* a; b"),
            (&["a: tls=false"], "sni=* -; a"),
            (
                &["a: tls=true names=x", "b: tls=false"],
                "sni=x a; sni=* -; b",
            ),
            (&["a: names=x tls=false", "b:"], "sni=x -; b"),
        ] {
            assert_eq!(shown(chains), expected, "{chains:?}");
        }
    }

    #[test]
    fn too_many_routes_are_refused() {
        let asked = |count: u32| {
            let nets: Vec<_> = (0..=count).map(|net| format!("10.{net}.0.0/16")).collect();
            nets.join(",")
        };
        let all: Vec<Chain> = (0..200)
            .map(|index| chain(&format!("a{index}: names=n{index} peers={}", asked(index))))
            .collect();
        assert!(cases(&all, &To::Reject).is_ok());
        let many: Vec<Chain> = (0..20_000_u32)
            .map(|index| chain(&format!("a: names=n{index} port=1")))
            .collect();
        assert!(cases(&many, &To::Reject).is_err());
    }
}
