//! The end of a monitor: everybody is told first, then what takes time is taken down.

use crate::protocol::{self, Ended, Kind};
use crate::run::Monitor;
use crate::state;

/// How long a client may take to read the end of the output before the monitor goes.
const FAREWELL_MS: i64 = 10_000;

impl Monitor {
    /// Tells everybody, and says what this process shall do next.
    pub(crate) fn farewell(mut self) -> Option<Vec<String>> {
        let code = self.state.exit_code;
        // No command must find a socket that nobody listens on any more.
        let _ = rustix::fs::unlink(self.job.run_directory.join(protocol::SOCKET));
        sys::fail::point("monitor.farewell.begun");
        self.leave_networks();
        state::announce_volumes(&self.job, "unmount");
        // Before anybody is told: who hears of the end may want to remove the container at once,
        // and need wait neither for slow readers nor for the control groups.
        self.lock = None;
        sys::fail::point("monitor.farewell.unlocked");
        let ended = protocol::json_packet(Kind::Ended, &Ended { code });
        for client in &mut self.clients {
            if client.awaits_stop {
                client.send(protocol::packet(Kind::Done, b""));
            }
            client.send(ended.clone());
            client.flush_for(FAREWELL_MS);
        }
        sys::fail::point("monitor.farewell.told");
        // Only now, with everybody told: this takes longer than the container's own end.
        if let Some(mut container) = self.ended.take() {
            let _ = container.cgroup.remove();
            let group = &self.job.launch.cgroup;
            if group.parent_is_named {
                // Nobody else would ever remove it.
                let layout = runtime::cgroup::Layout::detect();
                let _ = layout.and_then(|layout| layout.remove_made_parent(&group.parent));
            }
        }
        sys::fail::point("monitor.farewell.released");
        if !self.job.auto_remove {
            return None;
        }
        // The command that started the container removes it, if it is still there; its bytes are left to us.
        for owner in self.clients.iter().filter(|client| client.attach.owner) {
            owner.wait_until_gone(FAREWELL_MS);
        }
        let mut next = self.job.reap_arguments.clone();
        next.push(self.job.id.clone());
        Some(next)
    }

    /// Whether the command that started the container is still there, to remove it.
    pub(crate) fn owner_listens(&self) -> bool {
        self.clients
            .iter()
            .any(|client| client.attach.owner && !client.gone && !client.has_queue())
    }
}
