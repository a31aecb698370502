//! The end of a monitor: everybody is told first, then what takes time is taken down.

use crate::protocol::{self, Ended, Kind};
use crate::run::Monitor;

/// How long a client may take to read the end of the output before the monitor goes.
const FAREWELL_MS: i64 = 10_000;

impl Monitor {
    /// Tells everybody, and says what this process shall do next.
    pub(crate) fn farewell(mut self) -> Option<Vec<String>> {
        let code = self.state.exit_code;
        // No command must find a socket that nobody listens on any more.
        let _ = rustix::fs::unlink(self.job.run_directory.join(protocol::SOCKET));
        let ended = protocol::json_packet(Kind::Ended, &Ended { code });
        let mut owner_listens = false;
        for client in &mut self.clients {
            if client.awaits_stop {
                client.send(protocol::packet(Kind::Done, b""));
            }
            client.send(ended.clone());
            client.flush_for(FAREWELL_MS);
            owner_listens |= client.attach.owner && !client.gone && !client.has_queue();
        }
        // Only now, with everybody told: this takes longer than the container's own end. Whoever
        // wants to remove the container need not wait for it.
        self.lock = None;
        if let Some(mut container) = self.ended.take() {
            let _ = container.cgroup.remove();
        }
        let mut next = self.job.reap_arguments.clone();
        next.push(self.job.id.clone());
        (self.job.auto_remove && !owner_listens).then_some(next)
    }
}
