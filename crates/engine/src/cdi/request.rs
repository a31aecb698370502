//! From requests (`--gpus 2`) to qualified names (`nvidia.com/gpu=0`).

use types::container::DeviceRequest;

use super::directories::Registry;
use crate::error::EngineError;

/// Vendors of GPUs by their drivers' short names, in the order in which they are looked for.
const GPU_VENDORS: [(&str, &str); 3] = [
    ("nvidia", "nvidia.com/gpu"),
    ("amd", "amd.com/gpu"),
    ("intel", "intel.com/gpu"),
];
const GPUS_MAX: i64 = 1024;

/// The names that the requests stand for, each once.
pub(super) fn names(
    requests: &[DeviceRequest],
    found: &Registry,
) -> Result<Vec<String>, EngineError> {
    let mut all: Vec<String> = Vec::new();
    for request in requests {
        for name in of_one(request, found)? {
            if !all.contains(&name) {
                all.push(name);
            }
        }
    }
    Ok(all)
}

fn of_one(request: &DeviceRequest, found: &Registry) -> Result<Vec<String>, EngineError> {
    if request.driver == "cdi" {
        return Ok(request.device_ids.clone());
    }
    let kind = kind(request, found)?;
    let qualified = |id: &str| match id.contains('=') {
        true => id.to_owned(),
        false => format!("{kind}={id}"),
    };
    if !request.device_ids.is_empty() {
        return Ok(request.device_ids.iter().map(|id| qualified(id)).collect());
    }
    match request.count {
        -1 => Ok(vec![qualified("all")]),
        count @ 0..=GPUS_MAX => Ok((0..count).map(|n| qualified(&n.to_string())).collect()),
        count => Err(EngineError::invalid(format!(
            "invalid number of GPUs: {count}"
        ))),
    }
}

/// The kind of the first vendor that is asked for and described.
fn kind(request: &DeviceRequest, found: &Registry) -> Result<&'static str, EngineError> {
    let is_gpu = |set: &Vec<String>| set.iter().any(|name| name == "gpu" || name == "nvidia");
    let has_gpu = request.capabilities.is_empty() || request.capabilities.iter().any(is_gpu);
    let asked = |driver: &str| request.driver.is_empty() || request.driver == driver;
    let mut vendors = GPU_VENDORS
        .iter()
        .filter(|(driver, _)| has_gpu && asked(driver));
    match vendors.find(|(_, kind)| found.has_kind(kind)) {
        Some((_, kind)) => Ok(kind),
        None => {
            let sets = request
                .capabilities
                .iter()
                .map(|set| format!("[{}]", set.join(" ")));
            Err(EngineError::invalid(format!(
                "could not select device driver \"{}\" with capabilities: [{}]: no file in {} \
                 describes a GPU; the vendor's tool writes it, such as nvidia-ctk cdi generate \
                 --output=/etc/cdi/nvidia.yaml",
                request.driver,
                sets.collect::<Vec<_>>().join(" "),
                found.places()
            )))
        }
    }
}
