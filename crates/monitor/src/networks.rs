//! The container's networks while it runs: plugged in, its ports held, its names answered.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use network::attachment::{AttachError, Attachment, Endpoint, Port};
use network::names::Names;
use network::nft::{Table, watch};
use network::{Socket, mend, route};
use runtime::Failure;
use sys::atomic::Durability;

use crate::job::{ATTACHMENT, Job};
use crate::name_server::NameServer;
use crate::protocol::TakePorts;
use crate::proxy::{Proxied, Proxy};
use crate::resolver::Resolver;
use crate::state;

/// So long is the document of a container's places, at most.
const ATTACHMENT_BYTES_MAX: u64 = 16 << 20;

/// The container's networks.
pub(crate) struct Networks {
    attachment: Attachment,
    /// Kept open: closing it waits for the kernel to free what was removed by it.
    netfilter: Socket,
    /// Bound sockets: rivals for the ports are refused while they are open.
    held: Vec<OwnedFd>,
    /// Passes on what the kernel cannot translate.
    proxy: Proxy,
    /// Readable when the tables changed.
    tables: Option<Socket>,
    /// Readable when a bridge of the container's is gone.
    bridges: Option<Socket>,
    pub(crate) names: Option<NameServer>,
}

impl Networks {
    /// Plugs a new container in.
    pub(crate) fn connect(
        job: &Job,
        mut attachment: Attachment,
        namespace: &OwnedFd,
    ) -> Result<Self, Failure> {
        let netfilter = Socket::netfilter().map_err(|error| Failure::setup(error.to_string()))?;
        let held = match attachment.connect(&netfilter, namespace) {
            Ok(held) => held,
            Err(error) => {
                attachment.undo(&netfilter);
                return Err(failure(job, &error));
            }
        };
        sys::fail::point("monitor.network.connected");
        let mut networks = Self::watching(attachment, netfilter, held, (namespace, false))?;
        // The ports that were taken; a monitor that takes over finds them there.
        if let Err(failure) = networks.save(job) {
            networks.undo(job);
            return Err(failure);
        }
        networks.announce(job, "connect");
        Ok(networks)
    }

    /// Takes over a running container whose monitor was killed. A port that somebody took meanwhile
    /// is lost; the container runs on.
    pub(crate) fn resume(mut attachment: Attachment, namespace: &OwnedFd) -> Option<Self> {
        let netfilter = Socket::netfilter().ok()?;
        let _ = mend::mend(&attachment);
        let held = attachment.resume(&netfilter).unwrap_or_default();
        Self::watching(attachment, netfilter, held, (namespace, true)).ok()
    }

    /// The networks of a running container that has been in none: the document lies there already.
    pub(crate) fn begin(job: &Job, namespace: &OwnedFd) -> Option<Self> {
        let path = job.directory.join(ATTACHMENT);
        let bytes = sys::atomic::read_limited(&path, ATTACHMENT_BYTES_MAX).ok()?;
        Self::resume(serde_json::from_slice(&bytes).ok()?, namespace)
    }

    fn watching(
        attachment: Attachment,
        netfilter: Socket,
        held: Vec<OwnedFd>,
        (namespace, is_successor): (&OwnedFd, bool),
    ) -> Result<Self, Failure> {
        let mut networks = Self {
            attachment,
            netfilter,
            held,
            proxy: Proxy::default(),
            tables: watch::watch().ok(),
            bridges: None,
            names: None,
        };
        networks.watch_bridges();
        networks.proxy = networks.new_proxy();
        networks.names = match Resolver::new(namespace, &networks.attachment, is_successor) {
            Ok(resolver) => Some(NameServer::new(resolver)),
            Err(error) => {
                networks.attachment.undo(&networks.netfilter);
                return Err(Failure::setup(format!(
                    "cannot answer for names in the container: {error}"
                )));
            }
        };
        Ok(networks)
    }

    fn new_proxy(&self) -> Proxy {
        let proxied = |(index, target): (usize, SocketAddr)| {
            Some(Proxied {
                socket: self.held.get(index)?.try_clone().ok()?,
                protocol: self.attachment.ports.get(index)?.protocol,
                target,
            })
        };
        let ports = self.attachment.proxied();
        Proxy::new(ports.into_iter().filter_map(proxied).collect())
    }

    fn save(&self, job: &Job) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(&self.attachment).expect("invariant: plain records");
        let path = job.directory.join(ATTACHMENT);
        Ok(sys::atomic::write(&path, &bytes, Durability::Volatile)?)
    }

    /// Plugs the running container into one more network.
    pub(crate) fn connect_one(
        &mut self,
        job: &Job,
        endpoint: Endpoint,
        namespace: &OwnedFd,
    ) -> Result<(), Failure> {
        let same = |one: &Endpoint| one.network.id == endpoint.network.id;
        if let Some(index) = self.attachment.endpoints.iter().position(same) {
            // A monitor that was killed has begun it: how far it came is not known.
            let begun = self.attachment.endpoints.remove(index);
            let attachment = &mut self.attachment;
            let _ = attachment.disconnect_one(&self.netfilter, &begun, namespace);
        }
        // Written down first: whoever comes after us knows what is to be taken back.
        self.attachment.endpoints.push(endpoint.clone());
        let connected = self.save(job).and_then(|()| {
            self.plug_one(&endpoint, namespace)
                .map_err(|error| failure(job, &error))
        });
        if let Err(failure) = connected {
            self.attachment.endpoints.pop();
            let attachment = &mut self.attachment;
            let _ = attachment.disconnect_one(&self.netfilter, &endpoint, namespace);
            let _ = self.save(job);
            return Err(failure);
        }
        self.learn();
        self.save(job)
    }

    fn plug_one(&mut self, endpoint: &Endpoint, namespace: &OwnedFd) -> Result<(), AttachError> {
        let attachment = &mut self.attachment;
        attachment.connect_one(&self.netfilter, endpoint, namespace)?;
        sys::fail::point("monitor.network.joined");
        attachment.reroute(namespace)?;
        attachment.redirect_ports(&self.netfilter)
    }

    /// Takes the running container out of a network.
    pub(crate) fn disconnect_one(
        &mut self,
        job: &Job,
        network: &str,
        namespace: &OwnedFd,
    ) -> Result<(), Failure> {
        let found = self
            .attachment
            .endpoints
            .iter()
            .position(|one| one.network.id == network);
        let Some(index) = found else {
            return Err(Failure::setup(
                "the container is not connected to the network",
            ));
        };
        let endpoint = self.attachment.endpoints.remove(index);
        let disconnected = self
            .attachment
            .disconnect_one(&self.netfilter, &endpoint, namespace);
        sys::fail::point("monitor.network.left");
        self.attachment.give_back(&endpoint);
        self.learn();
        self.save(job)?;
        disconnected.map_err(|error| failure(job, &error))
    }

    /// The published ports, and the sockets that hold them as far as they are held.
    pub(crate) fn ports(&self) -> (Vec<Port>, Vec<BorrowedFd<'_>>) {
        let ports = self.attachment.ports.iter().cloned();
        let sockets = self.held.iter().map(AsFd::as_fd);
        ports.zip(sockets).unzip()
    }

    /// Publishes the ports of a container that runs without them. Without a word about ports, those that it has
    /// lead to it again.
    pub(crate) fn take_ports(
        &mut self,
        job: &Job,
        request: TakePorts,
        mut sockets: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        if request.handed.is_empty() && request.others.is_empty() {
            let redirected = self.attachment.redirect_ports(&self.netfilter);
            return redirected.map_err(|error| failure(job, &error));
        }
        if sockets.len() != request.handed.len() {
            return Err(Failure::setup("not every port came with its socket"));
        }
        // One that took over from a killed monitor may hold some.
        self.proxy = Proxy::default();
        self.held.clear();
        let held = self.attachment.hold_more(request.others);
        sockets.extend(held.map_err(|error| failure(job, &error))?);
        self.attachment.ports.splice(..0, request.handed);
        self.held = sockets;
        // Written down first: whoever comes after us puts in what is missing.
        let taken = self.save(job).and_then(|()| {
            sys::fail::point("monitor.ports.taken");
            let redirected = self.attachment.redirect_ports(&self.netfilter);
            redirected.map_err(|error| failure(job, &error))
        });
        if taken.is_err() {
            self.attachment.ports.clear();
            self.held.clear();
            let _ = self.save(job);
        }
        self.proxy = self.new_proxy();
        taken
    }

    /// Another container has the ports by now. Whoever is connected through them stays so.
    pub(crate) fn let_go_ports(&mut self, job: &Job) -> Result<(), Failure> {
        self.attachment.ports.clear();
        self.save(job)?;
        sys::fail::point("monitor.ports.gone");
        self.proxy.retire();
        self.held.clear();
        Ok(())
    }

    fn learn(&mut self) {
        self.watch_bridges();
        if !self.attachment.ports.is_empty() {
            // The old one ends before a new one listens.
            self.proxy = Proxy::default();
            self.proxy = self.new_proxy();
        }
        if let Some(names) = &mut self.names {
            names.learn(&self.attachment);
        }
    }

    /// What tells that a client came whom the kernel cannot translate.
    pub(crate) fn proxied(&self) -> Vec<BorrowedFd<'_>> {
        self.proxy.sources()
    }

    /// Such a client came, or the process that serves them ended.
    pub(crate) fn attend_proxied(&mut self) {
        self.proxy.attend();
    }

    /// What tells that the tables changed, or that a bridge is gone.
    pub(crate) fn host(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let sockets = self.tables.iter().chain(&self.bridges);
        sockets.map(AsFd::as_fd)
    }

    /// Puts the container's part back where somebody flushed the tables or deleted a bridge.
    pub(crate) fn look_after_host(&mut self) {
        self.look_after_bridges();
        self.look_after_tables();
    }

    fn look_after_tables(&mut self) {
        let Ok(table) = Table::new(&self.attachment.firewall.table) else {
            return;
        };
        let Some(socket) = &self.tables else {
            return;
        };
        match watch::was_our_table_deleted(socket, &table) {
            Ok(false) => {}
            Ok(true) => {
                let _ = self.attachment.restore(&self.netfilter);
            }
            Err(_) => self.tables = watch::watch().ok(),
        }
    }

    fn watch_bridges(&mut self) {
        self.bridges = mend::watch(&self.attachment).ok().flatten();
    }

    fn look_after_bridges(&mut self) {
        let was_heard = |socket: &Socket| !matches!(mend::heard(socket), Ok(false));
        if self.bridges.as_ref().is_some_and(was_heard) {
            // What stays broken, for instance for another interface of the bridge's name, is said by
            // the next command that starts a container there.
            let _ = mend::mend(&self.attachment);
            self.watch_bridges();
        }
    }

    fn announce(&self, job: &Job, action: &str) {
        for endpoint in &self.attachment.endpoints {
            state::announce_network(job, &endpoint.network, action);
        }
    }

    /// Gives the container another name in all its networks.
    pub(crate) fn rename(&mut self, job: &Job, old: &str, new: &str) -> Result<(), Failure> {
        for endpoint in &mut self.attachment.endpoints {
            let Some(first) = endpoint.names.first_mut().filter(|name| *name == old) else {
                continue;
            };
            new.clone_into(first);
            let names = Names::of(&endpoint.network.directory);
            let given_up = [old.to_owned()];
            // It may be an alias as well.
            if !endpoint.names.iter().any(|name| name == old) {
                names.remove(&job.id, &given_up);
            }
            names.add(&job.id, &endpoint.names, &endpoint.ips())?;
        }
        self.save(job)
    }

    /// Takes the container out of its networks, for good.
    pub(crate) fn undo(&mut self, job: &Job) {
        self.proxy = Proxy::default();
        if let Some(names) = &mut self.names {
            names.end_process();
        }
        self.held.clear();
        self.attachment.undo(&self.netfilter);
        self.announce(job, "disconnect");
        sys::fail::point("monitor.network.undone");
        let _ = rustix::fs::unlink(job.directory.join(ATTACHMENT));
    }
}

/// Gives back the places of a container that has none of them any more.
pub(crate) fn give_up(job: &Job, attachment: &Attachment) {
    if let Ok(netfilter) = Socket::netfilter() {
        attachment.undo(&netfilter);
        let _ = rustix::fs::unlink(job.directory.join(ATTACHMENT));
    }
}

/// The namespace of a process; `None` where it ends.
pub(crate) fn namespace_of(pid: i32) -> Option<OwnedFd> {
    let path = format!("/proc/{pid}/ns/net");
    std::fs::File::open(path).ok().map(OwnedFd::from)
}

fn failure(job: &Job, error: &AttachError) -> Failure {
    if let AttachError::Namespace(route::NamespaceError::Stranded(_)) = error {
        // Nothing that follows would happen where it should.
        std::process::abort();
    }
    let name = job.attributes.get("name").map_or("", String::as_str);
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    Failure::setup(match error {
        AttachError::Port(_) => format!("failed to set up container networking: {text}"),
        _ => format!("cannot connect container {name} to its networks: {text}"),
    })
}
