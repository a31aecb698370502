//! Limits, devices, health checks and restart policies of a service.

use types::container::{
    DeviceMapping, DeviceRequest, Healthcheck, Resources, RestartKind, RestartPolicy, Ulimit,
};

use crate::model::{self, Service};

pub(super) fn health_check(check: &model::HealthCheck) -> Healthcheck {
    let nanoseconds = |duration: Option<model::Duration>| duration.map_or(0, |duration| duration.0);
    let test = match check.disable {
        true => vec!["NONE".to_owned()],
        false => check.test.clone(),
    };
    Healthcheck {
        test,
        interval_ns: nanoseconds(check.interval),
        timeout_ns: nanoseconds(check.timeout),
        start_period_ns: nanoseconds(check.start_period),
        start_interval_ns: nanoseconds(check.start_interval),
        retries: check
            .retries
            .map_or(0, |retries| u32::try_from(retries).unwrap_or(u32::MAX)),
    }
}

pub(super) fn restart_policy(service: &Service) -> RestartPolicy {
    let deployed = service
        .deploy
        .as_ref()
        .and_then(|deploy| deploy.restart_policy.as_ref());
    let (condition, retries) = match deployed {
        Some(policy) => (
            policy.condition.as_str(),
            policy.max_attempts.unwrap_or_default(),
        ),
        None => match service.restart.split_once(':') {
            Some((condition, retries)) => (condition, retries.parse().unwrap_or_default()),
            None => (service.restart.as_str(), 0),
        },
    };
    let kind = match condition {
        "on-failure" => RestartKind::OnFailure,
        "unless-stopped" => RestartKind::UnlessStopped,
        "on-unhealthy" => RestartKind::OnUnhealthy,
        "any" | "always" => RestartKind::Always,
        // A deployment without a condition restarts always, by the specification.
        "" if deployed.is_some() => RestartKind::Always,
        _ => RestartKind::No,
    };
    let maximum_retries = u32::try_from(retries).unwrap_or_default();
    RestartPolicy {
        kind,
        maximum_retries: if kind == RestartKind::OnFailure {
            maximum_retries
        } else {
            0
        },
    }
}

pub(super) fn resources(service: &Service) -> Resources {
    let mut resources = Resources {
        memory_bytes: service.mem_limit.0,
        memory_reservation_bytes: service.mem_reservation.0,
        memory_swap_bytes: service.memswap_limit.0,
        memory_swappiness: Some(service.mem_swappiness.0).filter(|value| *value != 0),
        oom_kill_disable: service.oom_kill_disable,
        nano_cpus: nano_cpus(service.cpus),
        cpu_shares: service.cpu_shares,
        cpu_period_us: service.cpu_period,
        cpu_quota_us: service.cpu_quota,
        cpu_realtime_period_us: service.cpu_rt_period,
        cpu_realtime_runtime_us: service.cpu_rt_runtime,
        cpuset_cpus: service.cpuset.clone(),
        pids_limit: service.pids_limit,
        device_cgroup_rules: service.device_cgroup_rules.clone(),
        ..Resources::default()
    };
    if let Some(blkio) = &service.blkio_config {
        let rates = |list: &[model::ThrottleDevice]| -> Vec<(String, u64)> {
            let rate = |device: &model::ThrottleDevice| {
                (
                    device.path.clone(),
                    u64::try_from(device.rate.0).unwrap_or_default(),
                )
            };
            list.iter().map(rate).collect()
        };
        resources.blkio_weight = u16::try_from(blkio.weight).unwrap_or_default();
        resources.blkio_weight_device = blkio
            .weight_device
            .iter()
            .map(|device| {
                (
                    device.path.clone(),
                    u16::try_from(device.weight).unwrap_or_default(),
                )
            })
            .collect();
        resources.blkio_read_bps = rates(&blkio.device_read_bps);
        resources.blkio_read_iops = rates(&blkio.device_read_iops);
        resources.blkio_write_bps = rates(&blkio.device_write_bps);
        resources.blkio_write_iops = rates(&blkio.device_write_iops);
    }
    let deployed = service.deploy.as_ref().map(|deploy| &deploy.resources);
    if let Some(limits) = deployed.and_then(|resources| resources.limits.as_ref()) {
        let or = |value: i64, old: i64| if value != 0 { value } else { old };
        resources.memory_bytes = or(limits.memory.0, resources.memory_bytes);
        resources.nano_cpus = or(nano_cpus(limits.cpus), resources.nano_cpus);
        resources.pids_limit = or(limits.pids, resources.pids_limit);
    }
    if let Some(reserved) = deployed.and_then(|resources| resources.reservations.as_ref()) {
        if !reserved.memory.is_zero() {
            resources.memory_reservation_bytes = reserved.memory.0;
        }
        let requests = reserved
            .devices
            .iter()
            .map(|device| device_request(device, None));
        resources.device_requests.extend(requests);
    }
    devices(service, &mut resources);
    resources
}

fn nano_cpus(cpus: f32) -> i64 {
    // Through the text, so that 0.1 is 100,000,000 and not its binary neighbour.
    let precise: f64 = cpus.to_string().parse().unwrap_or_default();
    (precise * 1e9).round() as i64
}

fn devices(service: &Service, resources: &mut Resources) {
    let mut named = Vec::new();
    for device in &service.devices {
        // `vendor.com/class=name`: a device by name (Container Device Interface).
        if device.source == device.target
            && device.source.contains('=')
            && !device.source.starts_with('/')
        {
            named.push(device.source.clone());
            continue;
        }
        resources.devices.push(DeviceMapping {
            host_path: device.source.clone(),
            container_path: device.target.clone(),
            permissions: device.permissions.clone(),
        });
    }
    if !named.is_empty() {
        resources.device_requests.push(DeviceRequest {
            driver: "cdi".to_owned(),
            device_ids: named,
            ..DeviceRequest::default()
        });
    }
    let gpus = service
        .gpus
        .iter()
        .map(|gpu| device_request(gpu, Some("gpu")));
    resources.device_requests.extend(gpus);
    resources.ulimits = service
        .ulimits
        .iter()
        .map(|(name, limit)| Ulimit {
            name: name.clone(),
            soft: limit.soft,
            hard: limit.hard,
        })
        .collect();
}

fn device_request(device: &model::DeviceRequest, more: Option<&str>) -> DeviceRequest {
    let mut capabilities = device.capabilities.clone();
    capabilities.extend(more.map(str::to_owned));
    DeviceRequest {
        driver: device.driver.clone(),
        count: device.count,
        device_ids: device.device_ids.clone(),
        capabilities: vec![capabilities],
        options: device.options.0.clone(),
    }
}
