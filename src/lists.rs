//! Files that list clients: the last good ones of each, and what listeners make of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use proxy_admin::ClientList;
use proxy_config::{self as config, AccessEntry, AccessLists, Config};
use proxy_core::{Access, Clients};

use crate::config_file::{self, ReadLists, Sources};

/// The lists of a configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lists {
    files: BTreeMap<PathBuf, List>,
    sources: Sources,
}

#[derive(Clone, Debug)]
struct List {
    /// As they were when they were last in order.
    clients: Arc<[config::Clients]>,
    /// Why the file is not in order now.
    problem: Option<String>,
}

/// Who may connect to each listener that has lists, by its name.
pub(crate) type Accesses = HashMap<String, ListenerAccess>;

/// Who may connect to a listener; none: everybody.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListenerAccess {
    /// By who the client is.
    pub(crate) clients: Option<Arc<Access>>,
    /// By who has connected, whichever client it announces.
    pub(crate) peers: Option<Arc<Access>>,
}

impl Lists {
    /// Reads the lists of `config`. Waits for them.
    ///
    /// # Errors
    /// What is wrong with each that is not in order.
    pub(crate) fn load(config: &Config) -> Result<Self, String> {
        Self::default().with(config_file::read_lists(paths(config)))
    }

    /// Reads the lists of `config` again. Those that are not in order stay as they were, and the log says so.
    ///
    /// # Errors
    /// What is wrong with each that is not in order and was not there before.
    pub(crate) async fn again(&self, config: &Config) -> Result<Self, String> {
        self.with(config_file::read_lists_meanwhile(paths(config)).await)
    }

    fn with(&self, read: ReadLists) -> Result<Self, String> {
        let (mut files, mut problems) = (BTreeMap::new(), Vec::new());
        for (path, result) in read.files {
            match (result, self.files.get(&path)) {
                (Ok(clients), before) => {
                    if before.is_some_and(|before| before.problem.is_some()) {
                        tracing::info!(list = %path.display(), "the list is in order again");
                    }
                    let problem = None;
                    files.insert(path, List { clients, problem });
                }
                (Err(reason), Some(before)) => {
                    if before.problem.as_ref() != Some(&reason) {
                        tracing::error!("what was read of a list before stays in force: {reason}");
                    }
                    let problem = Some(reason);
                    let clients = before.clients.clone();
                    files.insert(path, List { clients, problem });
                }
                (Err(reason), None) => problems.push(reason),
            }
        }
        if problems.is_empty() {
            let sources = read.sources;
            Ok(Self { files, sources })
        } else {
            Err(problems.join("\n"))
        }
    }

    /// What they were read from; none if there are no lists.
    pub(crate) fn sources(&self) -> Option<&Sources> {
        (!self.files.is_empty()).then_some(&self.sources)
    }

    /// For people.
    pub(crate) fn shown(&self) -> Vec<ClientList> {
        let files = self.files.iter();
        files
            .map(|(path, list)| ClientList {
                file: path.display().to_string(),
                entries: list.clients.len(),
                problem: list.problem.clone(),
            })
            .collect()
    }

    /// What each listener of `config` makes of them. It takes a second for millions of entries.
    pub(crate) fn accesses<'c>(&self, config: &'c Config) -> Accesses {
        // Listeners that have the same lists share what is made of them.
        let mut made: Vec<(AccessLists<'c>, Arc<Access>)> = Vec::new();
        let mut access = |lists: AccessLists<'c>| {
            if let Some((_, access)) = made.iter().find(|(known, _)| *known == lists) {
                return access.clone();
            }
            let access = Arc::new(self.access(lists));
            made.push((lists, access.clone()));
            access
        };
        let mut accesses = Accesses::new();
        for listener in &config.listeners {
            let admission = &listener.admission;
            let (clients, peers) = (admission.clients(), admission.peers());
            if clients.is_some() || peers.is_some() {
                let access = ListenerAccess {
                    clients: clients.map(&mut access),
                    peers: peers.map(&mut access),
                };
                accesses.insert(listener.name.clone(), access);
            }
        }
        accesses
    }

    fn access(&self, AccessLists { allow, deny }: AccessLists<'_>) -> Access {
        let allow = (!allow.is_empty()).then(|| self.clients(allow));
        Access::new(allow, self.clients(deny))
    }

    fn clients<'a>(&'a self, entries: &'a [AccessEntry]) -> impl Iterator<Item = Clients> + 'a {
        let lists = entries.iter().flat_map(|entry| match entry {
            AccessEntry::Clients(clients) => std::slice::from_ref(clients),
            AccessEntry::File(path) => self.files.get(path).map_or(&[][..], |list| &list.clients),
        });
        lists.map(|clients| match *clients {
            config::Clients::Network(network) => Clients::Network(network),
            config::Clients::Unix => Clients::Unix,
        })
    }
}

fn paths(config: &Config) -> BTreeSet<PathBuf> {
    let listeners = config.listeners.iter();
    listeners
        .flat_map(|listener| listener.admission.files().cloned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proxy_core::ClientAddress;

    use super::*;

    fn config(list: &Path) -> Config {
        let text = format!(
            "listeners.a = {{ bind = \"127.0.0.1:0\", upstream = \"a\", deny = [\"file:{}\", \"10.0.0.1\"] }}\n\
             upstreams.a.servers = [\"builtin:echo\"]",
            list.display()
        );
        proxy_config::parse(&text, "test").expect("valid").config
    }

    fn denies(lists: &Lists, config: &Config, address: &str) -> bool {
        let address = format!("{address}:7").parse().expect("an address");
        let accesses = lists.accesses(config);
        let clients = accesses["a"].clients.as_ref().expect("it has lists");
        !clients.admits(ClientAddress::Tcp(address))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_bad_list_leaves_the_last_good_one_in_force() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("deny.txt");
        let config = config(&path);
        Lists::load(&config).expect_err("there is none yet");
        fs::write(&path, "10.0.0.2").expect("write");
        let first = Lists::load(&config).expect("it is in order");
        assert!(denies(&first, &config, "10.0.0.1") && denies(&first, &config, "10.0.0.2"));
        fs::write(&path, "10.0.0.3\nnonsense").expect("write");
        let second = first.again(&config).await.expect("what was goes on");
        assert!(denies(&second, &config, "10.0.0.2") && !denies(&second, &config, "10.0.0.3"));
        assert!(second.shown()[0].problem.is_some());
        fs::remove_file(&path).expect("remove");
        let third = second.again(&config).await.expect("what was goes on");
        assert!(denies(&third, &config, "10.0.0.2"));
        fs::write(&path, "10.0.0.3").expect("write");
        let fourth = third.again(&config).await.expect("it is in order");
        assert!(!denies(&fourth, &config, "10.0.0.2") && denies(&fourth, &config, "10.0.0.3"));
        assert_eq!(fourth.shown()[0].problem, None);
    }
}
