//! `up --rolling`: a container is replaced once the new one is ready, one after another.

use super::Planner;
use crate::container::{self, labels};
use crate::error::ComposeError;
use crate::plan::{Action, Condition, ConditionKind, ObservedContainer};
use types::state::Status;

impl Planner<'_> {
    /// The new one runs before the old one goes. Where it never becomes ready, the old one stays.
    pub(super) fn replace_rolling(
        &mut self,
        service: &str,
        old: &ObservedContainer,
        reason: &str,
        mut before: Vec<usize>,
    ) -> Result<Option<usize>, ComposeError> {
        self.refuse_what_cannot_be_twice(service)?;
        self.recreated.insert(service.to_owned());
        let number = old.number;
        let name = container::container_name(self.project, service, number);
        let subject = format!("Container {name}");
        let action = Action::CreateContainer {
            service: service.to_owned(),
            number,
            replaces: Some(old.id.clone()),
        };
        before.extend(self.rolled.iter().copied());
        let made = self.push(action, subject.clone(), reason, before);
        let run = self.start(service, number, None, subject.clone(), "new", vec![made]);
        let mut ready = run.unwrap_or(made);
        let first = self.plan.steps.len();
        if !self.project.services[service].ports.is_empty() {
            let action = Action::HandOverPorts {
                service: service.to_owned(),
                number,
                id: None,
                from: old.id.clone(),
            };
            let reason = "the new one is ready";
            ready = self.push(action, subject.clone(), reason, vec![ready]);
        }
        let gone = self.remove(old, "the new one is ready", vec![ready]);
        self.plan.steps[first].conditions.push(Condition {
            service: service.to_owned(),
            kind: ConditionKind::Ready,
            is_required: true,
        });
        let action = Action::RenameContainer {
            service: service.to_owned(),
            number,
            id: None,
        };
        let reason = "takes the place of the old one";
        let named = self.push(action, subject, reason, vec![gone]);
        self.rolled = Some(named);
        Ok(Some(named))
    }

    /// What an update that was cut off has not done: the one that goes may have the published ports of the one
    /// that runs in its place already.
    pub(super) fn hand_over_left(
        &mut self,
        service: &str,
        old: &ObservedContainer,
        new: &ObservedContainer,
    ) -> Option<usize> {
        let is_heir = new.spec.labels.get(labels::REPLACE) == Some(&old.id);
        let has_ports = !self.project.services[service].ports.is_empty();
        if !is_heir || !has_ports || new.status != Status::Running {
            return None;
        }
        let action = Action::HandOverPorts {
            service: service.to_owned(),
            number: new.number,
            id: Some(new.id.clone()),
            from: old.id.clone(),
        };
        let name = container::container_name(self.project, service, new.number);
        let reason = "left over by an interrupted command";
        Some(self.push(action, format!("Container {name}"), reason, Vec::new()))
    }

    /// What two containers cannot have at the same time.
    fn refuse_what_cannot_be_twice(&self, name: &str) -> Result<(), ComposeError> {
        let service = &self.project.services[name];
        let has_address = service.networks.values().flatten().any(|network| {
            !network.ipv4_address.is_empty()
                || !network.ipv6_address.is_empty()
                || !network.mac_address.is_empty()
        });
        let twice = [
            (
                has_address || !service.mac_address.is_empty(),
                "networks",
                "a fixed address can only be had once; let services find each other by name",
            ),
            (
                service.network_mode == "host",
                "network_mode",
                "both would listen on the same ports of this machine",
            ),
        ];
        for (is_so, key, why) in twice {
            if is_so {
                let mut error =
                    ComposeError::of_project(format!("--rolling: services.{name}.{key}: {why}"));
                error.hint = Some(format!(
                    "without --rolling {name} is replaced with a short gap"
                ));
                return Err(error);
            }
        }
        Ok(())
    }
}
