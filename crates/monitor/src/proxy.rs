//! Published ports that the kernel cannot translate: on `[::1]` always, on other IPv6 addresses where
//! the container has none.
//!
//! The monitor listens. With the first client it forks a process of its own that takes and passes on
//! whatever comes, so that neither names nor output ever wait for bulk. That process ends with the
//! monitor, when the ports are let go, or after a while without clients: then the monitor listens again.
//! Where the ports are handed over it takes nobody new, and ends with its last client.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use rustix::pipe::PipeFlags;
use sys::process::Side;
use types::port::Protocol;

/// Connections that wait to be taken.
const BACKLOG: i32 = 256;
/// Connections and UDP clients that are served at once; more are turned away.
const CLIENTS_MAX: usize = 1024;
/// So long without a client, and the process ends.
const IDLE_S: i64 = 30;
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// A UDP client that heard nothing for so long is forgotten.
const FLOW_PATIENCE: Duration = Duration::from_secs(90);
/// How often it is looked whether the last client has gone, where no new one is taken.
const FAREWELL_PAUSE: Duration = Duration::from_millis(50);
const BUFFER_BYTES: usize = 64 * 1024;
const DATAGRAM_BYTES_MAX: usize = 65_535;
const UDP_QUEUE_BYTES: usize = 256 * 1024;
const STACK_BYTES: usize = 64 * 1024;

/// A port whose clients are passed on.
#[derive(Debug)]
pub(crate) struct Proxied {
    pub(crate) socket: OwnedFd,
    pub(crate) protocol: Protocol,
    pub(crate) target: SocketAddr,
}

/// All such ports of a container.
#[derive(Debug, Default)]
pub(crate) struct Proxy {
    ports: Vec<Proxied>,
    process: Option<OwnedFd>,
    /// The process takes clients while this is open.
    taking: Option<OwnedFd>,
}

impl Proxy {
    /// Listens. A port on which that fails is held, and answers nobody.
    pub(crate) fn new(ports: Vec<Proxied>) -> Self {
        let prepare = |port: &Proxied| match port.protocol {
            Protocol::Udp => {
                sockopt::set_socket_recv_buffer_size(&port.socket, UDP_QUEUE_BYTES).is_ok()
            }
            // With SO_REUSEADDR, which connections inherit: those that linger after their end keep
            // neither the next start from the port nor this socket from listening. Beside a listener
            // it lets no rival in.
            _ => {
                sockopt::set_socket_reuseaddr(&port.socket, true).is_ok()
                    && rustix::net::listen(&port.socket, BACKLOG).is_ok()
            }
        };
        let ports = ports.into_iter().filter(prepare).collect();
        Self {
            ports,
            process: None,
            taking: None,
        }
    }

    /// Takes no new client; those that are served are served to their end.
    pub(crate) fn retire(&mut self) {
        self.ports.clear();
        self.taking = None;
    }

    /// What to sleep on: clients, or the end of the process that serves them.
    pub(crate) fn sources(&self) -> Vec<BorrowedFd<'_>> {
        match &self.process {
            Some(process) => vec![process.as_fd()],
            None => self.ports.iter().map(|port| port.socket.as_fd()).collect(),
        }
    }

    /// One of the sources is ready: a client came, or nobody serves them any more.
    pub(crate) fn attend(&mut self) {
        if let Some(process) = &self.process {
            if !matches!(sys::process::reap(process, false), Ok(None)) {
                self.process = None;
            }
            return;
        }
        let monitor = rustix::process::getpid();
        let Ok((retired, taking)) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC) else {
            return self.ports.clear();
        };
        match sys::process::clone_into(0, None) {
            Ok(Side::Child) => {
                let sockets = self.ports.iter().map(|port| port.socket.as_fd());
                let kept: Vec<_> = sockets.chain([retired.as_fd()]).collect();
                sys::caller::close_all_but(&kept);
                let _ = sys::process::set_parent_death_signal(libc::SIGKILL);
                sys::process::set_name(c"caisson-proxy");
                if rustix::process::getppid() == Some(monitor) {
                    serve(&self.ports, &retired);
                }
                sys::process::exit_now(0)
            }
            Ok(Side::Parent { pidfd, .. }) => {
                (self.process, self.taking) = (Some(pidfd), Some(taking));
            }
            // Nobody can be served; the client must not wake us again and again.
            Err(_) => self.ports.clear(),
        }
    }
}

impl Drop for Proxy {
    /// The ports are free only when the process that shares them is gone.
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            let _ = sys::process::signal(process, libc::SIGKILL);
            let _ = sys::process::reap(process, true);
        }
    }
}

/// How many clients are served; each holds one of these.
#[derive(Clone)]
struct Served(Arc<AtomicUsize>);

struct Client(Arc<AtomicUsize>);

impl Served {
    fn admit(&self) -> Option<Client> {
        if self.0.fetch_add(1, Ordering::Relaxed) < CLIENTS_MAX {
            return Some(Client(self.0.clone()));
        }
        self.0.fetch_sub(1, Ordering::Relaxed);
        None
    }

    fn is_idle(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

type Flows = Arc<Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>>;

enum Door {
    Tcp(TcpListener, SocketAddr),
    Udp(Arc<UdpSocket>, SocketAddr, Flows),
}

/// Takes clients until there was none for a while, or until `retired` says that there is nobody at its other end;
/// then those that are there are served to their end.
fn serve(ports: &[Proxied], retired: &OwnedFd) {
    let served = Served(Arc::default());
    let doors: Vec<Door> = ports.iter().filter_map(door).collect();
    let idle = Timespec {
        tv_sec: IDLE_S,
        tv_nsec: 0,
    };
    loop {
        let mut fds: Vec<PollFd<'_>> = doors
            .iter()
            .map(|door| match door {
                Door::Tcp(listener, _) => PollFd::new(listener, PollFlags::IN),
                Door::Udp(socket, ..) => PollFd::new(&**socket, PollFlags::IN),
            })
            .chain([PollFd::new(retired, PollFlags::IN)])
            .collect();
        match poll(&mut fds, Some(&idle)) {
            // Whoever came this moment waits in the socket, and the monitor sees it there.
            Ok(0) if served.is_idle() => return,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        let mut ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if ready.pop() == Some(true) {
            drop(doors);
            while !served.is_idle() {
                std::thread::sleep(FAREWELL_PAUSE);
            }
            return;
        }
        for (door, _) in doors.iter().zip(ready).filter(|(_, ready)| *ready) {
            match door {
                Door::Tcp(listener, target) => accept(listener, *target, &served),
                Door::Udp(socket, target, flows) => hear(socket, *target, flows, &served),
            }
        }
    }
}

fn door(port: &Proxied) -> Option<Door> {
    let socket = port.socket.try_clone().ok()?;
    Some(match port.protocol {
        Protocol::Udp => {
            let socket = UdpSocket::from(socket);
            socket.set_nonblocking(true).ok()?;
            Door::Udp(Arc::new(socket), port.target, Flows::default())
        }
        _ => {
            let listener = TcpListener::from(socket);
            listener.set_nonblocking(true).ok()?;
            Door::Tcp(listener, port.target)
        }
    })
}

fn accept(listener: &TcpListener, target: SocketAddr, served: &Served) {
    while let Ok((client, _)) = listener.accept() {
        let Some(place) = served.admit() else {
            continue;
        };
        let work = move || {
            let _place = place;
            let _ = pass_on(&client, target);
        };
        let _ = Builder::new().stack_size(STACK_BYTES).spawn(work);
    }
}

/// Passes a connection on, both ways, until both sides have ended.
fn pass_on(client: &TcpStream, target: SocketAddr) -> std::io::Result<()> {
    client.set_nonblocking(false)?;
    let server = TcpStream::connect_timeout(&target, CONNECT_PATIENCE)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    std::thread::scope(|scope| {
        let back = Builder::new().stack_size(STACK_BYTES);
        let back = back.spawn_scoped(scope, || copy(&server, client));
        copy(client, &server);
        if back.is_err() {
            let _ = client.shutdown(Shutdown::Both);
        }
    });
    Ok(())
}

/// Copies until one side ends, and tells the other.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                if to.write_all(&buffer[..count]).is_err() {
                    // The reader is gone: the writer shall learn it.
                    let _ = from.shutdown(Shutdown::Read);
                    break;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Takes datagrams; each client gets a socket of its own towards the container.
fn hear(door: &Arc<UdpSocket>, target: SocketAddr, flows: &Flows, served: &Served) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    while let Ok((length, client)) = door.recv_from(&mut buffer) {
        let known = lock(flows).get(&client).cloned();
        let flow = known.or_else(|| open_flow(door, target, client, flows, served));
        if let Some(flow) = flow {
            let _ = flow.send(&buffer[..length]);
        }
    }
}

fn open_flow(
    door: &Arc<UdpSocket>,
    target: SocketAddr,
    client: SocketAddr,
    flows: &Flows,
    served: &Served,
) -> Option<Arc<UdpSocket>> {
    let place = served.admit()?;
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(target).ok()?;
    socket.set_read_timeout(Some(FLOW_PATIENCE)).ok()?;
    let socket = Arc::new(socket);
    lock(flows).insert(client, socket.clone());
    let (door, flows, answers) = (door.clone(), flows.clone(), socket.clone());
    let work = move || {
        let _place = place;
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            match answers.recv(&mut buffer) {
                Ok(length) => drop(door.send_to(&buffer[..length], client)),
                // Nobody listens there at the moment.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
                Err(_) => break,
            }
        }
        lock(&flows).remove(&client);
    };
    let spawned = Builder::new().stack_size(STACK_BYTES).spawn(work);
    spawned.is_ok().then_some(socket)
}

fn lock(flows: &Flows) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, Arc<UdpSocket>>> {
    flows.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A proxy on `[::1]` in front of a server, served by a thread instead of a process.
    fn proxied(protocol: Protocol, target: SocketAddr) -> SocketAddr {
        let any: SocketAddr = "[::1]:0".parse().unwrap();
        let socket = network::ports::hold(protocol, any).unwrap();
        let address = network::ports::held_address(&socket).unwrap();
        let proxy = Proxy::new(vec![Proxied {
            socket,
            protocol,
            target,
        }]);
        std::thread::spawn(move || {
            let (retired, _taking) = rustix::pipe::pipe().unwrap();
            serve(&proxy.ports, &retired);
        });
        address
    }

    #[test]
    fn bytes_go_both_ways_and_each_side_ends_by_itself() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = proxied(Protocol::Tcp, server.local_addr().unwrap());
        let echo = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            stream.write_all(&all).unwrap();
        });
        let mut client = TcpStream::connect(address).unwrap();
        let sent = vec![7; 3 * BUFFER_BYTES + 1];
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        assert_eq!(got, sent);
        echo.join().unwrap();
    }

    #[test]
    fn one_that_retires_serves_its_last_client_and_nobody_else() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = network::ports::hold(Protocol::Tcp, "[::1]:0".parse().unwrap()).unwrap();
        let address = network::ports::held_address(&socket).unwrap();
        let another = socket.try_clone().unwrap();
        let proxy = Proxy::new(vec![Proxied {
            socket,
            protocol: Protocol::Tcp,
            target: server.local_addr().unwrap(),
        }]);
        let (retired, taking) = rustix::pipe::pipe().unwrap();
        let serving = std::thread::spawn(move || serve(&proxy.ports, &retired));
        let mut first = TcpStream::connect(address).unwrap();
        let (mut inside, _) = server.accept().unwrap();
        drop(taking);
        // Whoever comes now waits for the one who has the socket too.
        server.set_nonblocking(true).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            let second = TcpStream::connect(address).unwrap();
            let mut fds = [PollFd::new(&another, PollFlags::IN)];
            let patience = Timespec {
                tv_sec: 0,
                tv_nsec: 100_000_000,
            };
            if poll(&mut fds, Some(&patience)).unwrap() == 1
                && rustix::net::accept(&another).is_ok()
            {
                break;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "the old one still takes clients"
            );
            drop(second);
        }
        first.write_all(b"late").unwrap();
        let mut buffer = [0; 4];
        inside.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"late");
        assert!(!serving.is_finished());
        drop((first, inside));
        serving.join().unwrap();
    }

    #[test]
    fn datagrams_are_answered_to_whoever_asked() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = proxied(Protocol::Udp, server.local_addr().unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 16];
            while let Ok((length, from)) = server.recv_from(&mut buffer) {
                let _ = server.send_to(&buffer[..length], from);
            }
        });
        for text in ["one", "two"] {
            let client = UdpSocket::bind("[::1]:0").unwrap();
            client
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            client.send_to(text.as_bytes(), address).unwrap();
            let mut buffer = [0; 16];
            let (length, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (text.as_bytes(), address));
        }
    }

    #[test]
    fn connections_that_linger_do_not_keep_the_next_proxy_from_listening() {
        let on = |address: SocketAddr| {
            let socket = network::ports::hold(Protocol::Tcp, address).unwrap();
            let target = "127.0.0.1:9".parse().unwrap();
            Proxy::new(vec![Proxied {
                socket,
                protocol: Protocol::Tcp,
                target,
            }])
        };
        let first = on("[::1]:0".parse().unwrap());
        let address = network::ports::held_address(&first.ports[0].socket).unwrap();
        let client = TcpStream::connect(address).unwrap();
        // The side that ends first is the one that lingers.
        drop(rustix::net::accept(&first.ports[0].socket).unwrap());
        drop((first, client));
        assert_eq!(on(address).ports.len(), 1);
    }
}
