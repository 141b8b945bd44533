//! Who the process is, and what it may (`user` and `group` of `[runtime]`).
//!
//! That changes before the process has threads of its own, and for its whole life: what a thread may is its own
//! (capabilities(7)), and those that are started later inherit it.

use std::ffi::CString;
use std::io;

use anyhow::{Context, bail};
use nix::unistd::{self, Gid, Uid};
use proxy_config::{Account, Config, Runtime, SourceAddress};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set,
    set_capabilities, set_keep_capabilities, set_no_new_privs,
};

/// The one user that can become another.
const ROOT: u32 = 0;

/// Becomes who the configuration says, and never more than that: no program that it runs has the rights of its file's owner
/// (`no_new_privs`, prctl(2)).
///
/// Root that becomes somebody else keeps what the configuration needs of root's rights, also over an upgrade, whose process begins
/// as that user.
///
/// # Errors
/// When it can't, with what to do. The process is to end then: it may be somebody else already, in part.
pub(crate) fn take_on(config: &Config) -> anyhow::Result<()> {
    set_no_new_privs(true).context("no_new_privs can't be set")?;
    let Some(wanted) = Wanted::of(&config.runtime)? else {
        return Ok(());
    };
    if wanted.is_this_process() {
        return Ok(());
    }
    if unistd::geteuid().as_raw() != ROOT {
        bail!(
            "`user` and `group` of [runtime] are for root, who alone can become somebody else; start it as root, or as the user \
             itself, or remove them"
        );
    }
    let kept = needed(config) & capabilities(None)?.permitted;
    set_keep_capabilities(true).context("rights can't be kept")?;
    wanted.become_them()?;
    keep(kept).context("rights can't be kept")?;
    tracing::info!(
        user = wanted.user.as_raw(),
        group = wanted.group.as_raw(),
        keeps = %names(kept),
        "the process is no longer root's"
    );
    Ok(())
}

/// Looks up who the configuration says, without becoming them.
///
/// # Errors
/// When this system doesn't know them, with what to do.
pub(crate) fn look_up(runtime: &Runtime) -> anyhow::Result<()> {
    Wanted::of(runtime).map(drop)
}

/// Why a configuration can't be reloaded: it says somebody else than before. None: it doesn't.
pub(crate) fn cannot_change(new: &Runtime, old: &Runtime) -> Option<String> {
    ((&new.user, &new.group) != (&old.user, &old.group)).then(|| {
        "`user` and `group` of [runtime] are taken on at the start alone; restart the proxy for others"
            .to_owned()
    })
}

/// Who the process is to be.
struct Wanted {
    user: Uid,
    group: Gid,
    /// Whose other groups it is in; none: it is in no other.
    groups_of: Option<CString>,
}

impl Wanted {
    /// None: who it is.
    fn of(runtime: &Runtime) -> anyhow::Result<Option<Self>> {
        let Runtime { user, group, .. } = runtime;
        if user.is_none() && group.is_none() {
            return Ok(None);
        }
        let known = user.as_ref().map(known_user).transpose()?;
        let own_group = match group {
            None => None,
            Some(Account::Id(id)) => Some(Gid::from_raw(*id)),
            Some(Account::Name(name)) => match unistd::Group::from_name(name)? {
                Some(group) => Some(group.gid),
                None => bail!(
                    "`group` of [runtime] is \"{name}\", and this system has no such group; `getent group` lists those that it has"
                ),
            },
        };
        let (user, users_group, name) = match known {
            Some(Known { id, group, name }) => (id, group, name),
            None => (unistd::geteuid(), None, None),
        };
        Ok(Some(Self {
            user,
            group: own_group.or(users_group).unwrap_or_else(unistd::getegid),
            groups_of: name.filter(|_| own_group.is_none()),
        }))
    }

    fn is_this_process(&self) -> bool {
        self.user == unistd::geteuid() && self.group == unistd::getegid()
    }

    fn become_them(&self) -> anyhow::Result<()> {
        let Self { user, group, .. } = *self;
        match &self.groups_of {
            Some(name) => unistd::initgroups(name, group),
            None => unistd::setgroups(&[group]),
        }
        .and_then(|()| unistd::setgid(group))
        .and_then(|()| unistd::setuid(user))
        .with_context(|| format!("the process can't become user {user} in group {group}"))
    }
}

/// A user as the system knows them.
struct Known {
    id: Uid,
    group: Option<Gid>,
    name: Option<CString>,
}

/// A number needs no user of that number, but for their groups.
fn known_user(account: &Account) -> anyhow::Result<Known> {
    let found = match account {
        Account::Id(id) => unistd::User::from_uid(Uid::from_raw(*id))?,
        Account::Name(name) => unistd::User::from_name(name)?,
    };
    match (found, account) {
        (Some(user), _) => Ok(Known {
            id: user.uid,
            group: Some(user.gid),
            name: CString::new(user.name).ok(),
        }),
        (None, Account::Id(id)) => Ok(Known {
            id: Uid::from_raw(*id),
            group: Some(Gid::from_raw(*id)),
            name: None,
        }),
        (None, Account::Name(name)) => bail!(
            "`user` of [runtime] is \"{name}\", and this system has no such user; `getent passwd` lists those that it has"
        ),
    }
}

/// What root's process may that a configuration needs.
fn needed(config: &Config) -> CapabilitySet {
    let listeners = config.listeners.iter().map(|listener| &listener.options);
    let upstreams = config.upstreams.iter().map(|upstream| &upstream.options);
    let marks = listeners
        .clone()
        .any(|options| options.socket.mark.is_some())
        || upstreams
            .clone()
            .any(|options| options.socket.mark.is_some());
    let takes_others = listeners.clone().any(|options| options.transparent)
        || upstreams
            .clone()
            .any(|options| options.source_address == Some(SourceAddress::Client));
    // Ports below 1,024, also those of a later reload.
    let mut needed = CapabilitySet::NET_BIND_SERVICE;
    if marks || takes_others {
        needed |= CapabilitySet::NET_ADMIN;
    }
    needed
}

/// Has this thread and all that it starts, programs as well, have these rights and no others.
fn keep(kept: CapabilitySet) -> io::Result<()> {
    set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: kept,
        },
    )?;
    for capability in kept.iter() {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

fn names(kept: CapabilitySet) -> String {
    let names: Vec<String> = kept
        .iter_names()
        .map(|(name, _)| format!("CAP_{name}"))
        .collect();
    match names.is_empty() {
        true => "nothing".to_owned(),
        false => names.join(" "),
    }
}
