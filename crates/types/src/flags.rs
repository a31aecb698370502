//! The grammars of single flags of `run`, `create` and `update`, in Docker's words.
//!
//! Each function turns the text of one flag into a value of [`crate::container`]. The flag tables
//! of the command line call them; so do tests and, later, Compose. What Docker's command line
//! leaves to its engine is checked here too, since there is no engine behind us that would.

mod capabilities;
mod detach_keys;
mod health;
mod logging;
mod modes;
mod network;
mod resources;
mod security;

pub use capabilities::{ALL_CAPABILITIES, CAPABILITIES, CapabilityError, normalise_capability};
pub use detach_keys::{DEFAULT_DETACH_KEYS, DetachKeysError, parse_detach_keys};
pub use health::{HealthError, HealthFlags, health_check};
pub use logging::{JsonFileOptions, LOG_FILES_MAX, LogError, json_file_options, parse_log_options};
pub use modes::{
    ModeError, NamespaceFlag, PullPolicy, check_mac_address, check_namespace_mode, check_sysctl,
    parse_link, parse_pull_policy, parse_storage_option,
};
pub use network::{NetworkFlagError, parse_network};
pub use resources::{
    DeviceFlag, ResourceError, check_cpus, format_cpus, parse_cpus, parse_device,
    parse_device_cgroup_rule, parse_device_rate_bytes, parse_device_rate_operations,
    parse_device_weight, parse_swappiness, parse_ulimit,
};
pub use security::{SecurityError, SecurityOption, parse_security_option};
