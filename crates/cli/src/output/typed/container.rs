//! Go's types of a container's inspection.

use super::super::template::{self, GoType, STRING, StructType};
use super::words::{B, I, I64, MSS, S, SS, T, e, f, n, o};

/// `container.InspectResponse`
pub(crate) static CONTAINER: GoType = GoType::Struct(&StructType {
    name: "container.InspectResponse",
    fields: &[
        e("ContainerJSONBase", &GoType::Ptr(&GoType::Struct(&BASE))),
        f("Mounts", &GoType::List(None, &GoType::Struct(&MOUNT_POINT))),
        f("Config", &GoType::Ptr(&GoType::Struct(&CONFIG))),
        f(
            "NetworkSettings",
            &GoType::Ptr(&GoType::Struct(&NETWORK_SETTINGS)),
        ),
        o(
            "ImageManifestDescriptor",
            &GoType::Ptr(&GoType::Struct(&super::others::DESCRIPTOR)),
        ),
    ],
});

static BASE: StructType = StructType {
    name: "container.ContainerJSONBase",
    fields: &[
        n("ID", "Id", S),
        f("Created", S),
        f("Path", S),
        f("Args", SS),
        f("State", &GoType::Ptr(&GoType::Struct(&STATE))),
        f("Image", S),
        f("ResolvConfPath", S),
        f("HostnamePath", S),
        f("HostsPath", S),
        f("LogPath", S),
        f("Name", S),
        f("RestartCount", I),
        f("Driver", S),
        f("Platform", S),
        f("MountLabel", S),
        f("ProcessLabel", S),
        f("AppArmorProfile", S),
        f("ExecIDs", SS),
        f("HostConfig", &GoType::Ptr(&GoType::Struct(&HOST_CONFIG))),
        f("GraphDriver", &GRAPH_DRIVER),
        o("SizeRw", PTR_I64),
        o("SizeRootFs", PTR_I64),
    ],
};

static PTR_I64: &GoType = &GoType::Ptr(I64);

static STATE: StructType = StructType {
    name: "container.State",
    fields: &[
        f("Status", S),
        f("Running", B),
        f("Paused", B),
        f("Restarting", B),
        f("OOMKilled", B),
        f("Dead", B),
        f("Pid", I),
        f("ExitCode", I),
        f("Error", S),
        f("StartedAt", S),
        f("FinishedAt", S),
        o("Health", &GoType::Ptr(&GoType::Struct(&HEALTH))),
    ],
};

static HEALTH: StructType = StructType {
    name: "container.Health",
    fields: &[
        f("Status", S),
        f("FailingStreak", I),
        f(
            "Log",
            &GoType::List(None, &GoType::Ptr(&GoType::Struct(&HEALTH_RESULT))),
        ),
    ],
};

static HEALTH_RESULT: StructType = StructType {
    name: "container.HealthcheckResult",
    fields: &[f("Start", T), f("End", T), f("ExitCode", I), f("Output", S)],
};

/// `storage.DriverData`
pub(super) static GRAPH_DRIVER: GoType = GoType::Struct(&StructType {
    name: "storage.DriverData",
    fields: &[f("Data", MSS), f("Name", S)],
});

static MOUNT_POINT: StructType = StructType {
    name: "container.MountPoint",
    fields: &[
        o("Type", &GoType::Str("mount.Type")),
        o("Name", S),
        f("Source", S),
        f("Destination", S),
        o("Driver", S),
        f("Mode", S),
        f("RW", B),
        f("Propagation", &GoType::Str("mount.Propagation")),
    ],
};

static STR_SLICE: &GoType = &GoType::List(Some("strslice.StrSlice"), &STRING);
/// `struct{}`
pub(super) static EMPTY: GoType = GoType::Struct(&StructType {
    name: "struct {}",
    fields: &[],
});
static PORT_SET: &GoType = &GoType::Map(Some("nat.PortSet"), "nat.Port", &EMPTY);
pub(super) static STRING_SET: &GoType = &GoType::Map(None, "string", &EMPTY);

static CONFIG: StructType = StructType {
    name: "container.Config",
    fields: &[
        f("Hostname", S),
        f("Domainname", S),
        f("User", S),
        f("AttachStdin", B),
        f("AttachStdout", B),
        f("AttachStderr", B),
        o("ExposedPorts", PORT_SET),
        f("Tty", B),
        f("OpenStdin", B),
        f("StdinOnce", B),
        f("Env", SS),
        f("Cmd", STR_SLICE),
        o("Healthcheck", HEALTHCHECK),
        o("ArgsEscaped", B),
        f("Image", S),
        f("Volumes", STRING_SET),
        f("WorkingDir", S),
        f("Entrypoint", STR_SLICE),
        o("NetworkDisabled", B),
        o("MacAddress", S),
        f("OnBuild", SS),
        f("Labels", MSS),
        o("StopSignal", S),
        o("StopTimeout", &GoType::Ptr(I)),
        o("Shell", STR_SLICE),
    ],
};

static DURATION: &GoType = &GoType::Int(template::DURATION);

/// `*v1.HealthcheckConfig`
pub(super) static HEALTHCHECK: &GoType = &GoType::Ptr(&GoType::Struct(&StructType {
    name: "v1.HealthcheckConfig",
    fields: &[
        o("Test", SS),
        o("Interval", DURATION),
        o("Timeout", DURATION),
        o("StartPeriod", DURATION),
        o("StartInterval", DURATION),
        o("Retries", I),
    ],
}));

static HOST_CONFIG: StructType = StructType {
    name: "container.HostConfig",
    fields: &[
        f("Binds", SS),
        f("ContainerIDFile", S),
        f("LogConfig", &LOG_CONFIG),
        f("NetworkMode", &GoType::Str("container.NetworkMode")),
        f("PortBindings", PORT_MAP),
        f("RestartPolicy", &RESTART_POLICY),
        f("AutoRemove", B),
        f("VolumeDriver", S),
        f("VolumesFrom", SS),
        f(
            "ConsoleSize",
            &GoType::List(Some("[2]uint"), &GoType::Uint("uint")),
        ),
        o("Annotations", MSS),
        f("CapAdd", STR_SLICE),
        f("CapDrop", STR_SLICE),
        f("CgroupnsMode", &GoType::Str("container.CgroupnsMode")),
        n("DNS", "Dns", SS),
        n("DNSOptions", "DnsOptions", SS),
        n("DNSSearch", "DnsSearch", SS),
        f("ExtraHosts", SS),
        f("GroupAdd", SS),
        f("IpcMode", &GoType::Str("container.IpcMode")),
        f("Cgroup", &GoType::Str("container.CgroupSpec")),
        f("Links", SS),
        f("OomScoreAdj", I),
        f("PidMode", &GoType::Str("container.PidMode")),
        f("Privileged", B),
        f("PublishAllPorts", B),
        f("ReadonlyRootfs", B),
        f("SecurityOpt", SS),
        o("StorageOpt", MSS),
        o("Tmpfs", MSS),
        f("UTSMode", &GoType::Str("container.UTSMode")),
        f("UsernsMode", &GoType::Str("container.UsernsMode")),
        f("ShmSize", I64),
        o("Sysctls", MSS),
        o("Runtime", S),
        f("Isolation", &GoType::Str("container.Isolation")),
        e("Resources", &GoType::Struct(&RESOURCES)),
        o("Mounts", &GoType::List(None, &GoType::Struct(&MOUNT))),
        f("MaskedPaths", SS),
        f("ReadonlyPaths", SS),
        o("Init", &GoType::Ptr(B)),
    ],
};

static LOG_CONFIG: GoType = GoType::Struct(&StructType {
    name: "container.LogConfig",
    fields: &[f("Type", S), f("Config", MSS)],
});

static RESTART_POLICY: GoType = GoType::Struct(&StructType {
    name: "container.RestartPolicy",
    fields: &[
        f("Name", &GoType::Str("container.RestartPolicyMode")),
        f("MaximumRetryCount", I),
    ],
});

static PORT_MAP: &GoType = &GoType::Map(
    Some("nat.PortMap"),
    "nat.Port",
    &GoType::List(None, &GoType::Struct(&PORT_BINDING)),
);

static PORT_BINDING: StructType = StructType {
    name: "nat.PortBinding",
    fields: &[n("HostIP", "HostIp", S), f("HostPort", S)],
};

static THROTTLES: &GoType = &GoType::List(
    None,
    &GoType::Ptr(&GoType::Struct(&StructType {
        name: "blkiodev.ThrottleDevice",
        fields: &[f("Path", S), f("Rate", &GoType::Uint("uint64"))],
    })),
);

static RESOURCES: StructType = StructType {
    name: "container.Resources",
    fields: &[
        n("CPUShares", "CpuShares", I64),
        f("Memory", I64),
        n("NanoCPUs", "NanoCpus", I64),
        f("CgroupParent", S),
        f("BlkioWeight", &GoType::Uint("uint16")),
        f(
            "BlkioWeightDevice",
            &GoType::List(None, &GoType::Ptr(&GoType::Struct(&WEIGHT))),
        ),
        f("BlkioDeviceReadBps", THROTTLES),
        f("BlkioDeviceWriteBps", THROTTLES),
        f("BlkioDeviceReadIOps", THROTTLES),
        f("BlkioDeviceWriteIOps", THROTTLES),
        n("CPUPeriod", "CpuPeriod", I64),
        n("CPUQuota", "CpuQuota", I64),
        n("CPURealtimePeriod", "CpuRealtimePeriod", I64),
        n("CPURealtimeRuntime", "CpuRealtimeRuntime", I64),
        f("CpusetCpus", S),
        f("CpusetMems", S),
        f("Devices", &GoType::List(None, &GoType::Struct(&DEVICE))),
        f("DeviceCgroupRules", SS),
        f(
            "DeviceRequests",
            &GoType::List(None, &GoType::Struct(&DEVICE_REQUEST)),
        ),
        o("KernelMemory", I64),
        o("KernelMemoryTCP", I64),
        f("MemoryReservation", I64),
        f("MemorySwap", I64),
        f("MemorySwappiness", PTR_I64),
        f("OomKillDisable", &GoType::Ptr(B)),
        f("PidsLimit", PTR_I64),
        f(
            "Ulimits",
            &GoType::List(None, &GoType::Ptr(&GoType::Struct(&ULIMIT))),
        ),
        n("CPUCount", "CpuCount", I64),
        n("CPUPercent", "CpuPercent", I64),
        f("IOMaximumIOps", &GoType::Uint("uint64")),
        f("IOMaximumBandwidth", &GoType::Uint("uint64")),
    ],
};

static WEIGHT: StructType = StructType {
    name: "blkiodev.WeightDevice",
    fields: &[f("Path", S), f("Weight", &GoType::Uint("uint16"))],
};

static DEVICE: StructType = StructType {
    name: "container.DeviceMapping",
    fields: &[
        f("PathOnHost", S),
        f("PathInContainer", S),
        f("CgroupPermissions", S),
    ],
};

static DEVICE_REQUEST: StructType = StructType {
    name: "container.DeviceRequest",
    fields: &[
        f("Driver", S),
        f("Count", I),
        f("DeviceIDs", SS),
        f("Capabilities", &GoType::List(None, SS)),
        f("Options", MSS),
    ],
};

static ULIMIT: StructType = StructType {
    name: "units.Ulimit",
    fields: &[f("Name", S), f("Hard", I64), f("Soft", I64)],
};

static MOUNT: StructType = StructType {
    name: "mount.Mount",
    fields: &[
        o("Type", &GoType::Str("mount.Type")),
        o("Source", S),
        o("Target", S),
        o("ReadOnly", B),
        o("Consistency", &GoType::Str("mount.Consistency")),
        o("BindOptions", &GoType::Ptr(&GoType::Struct(&BIND_OPTIONS))),
        o(
            "VolumeOptions",
            &GoType::Ptr(&GoType::Struct(&VOLUME_OPTIONS)),
        ),
        o(
            "ImageOptions",
            &GoType::Ptr(&GoType::Struct(&IMAGE_OPTIONS)),
        ),
        o(
            "TmpfsOptions",
            &GoType::Ptr(&GoType::Struct(&TMPFS_OPTIONS)),
        ),
    ],
};

static BIND_OPTIONS: StructType = StructType {
    name: "mount.BindOptions",
    fields: &[
        o("Propagation", &GoType::Str("mount.Propagation")),
        o("NonRecursive", B),
        o("CreateMountpoint", B),
        o("ReadOnlyNonRecursive", B),
        o("ReadOnlyForceRecursive", B),
    ],
};

static VOLUME_OPTIONS: StructType = StructType {
    name: "mount.VolumeOptions",
    fields: &[
        o("NoCopy", B),
        o("Labels", MSS),
        o("Subpath", S),
        o("DriverConfig", &GoType::Ptr(&GoType::Struct(&MOUNT_DRIVER))),
    ],
};

static MOUNT_DRIVER: StructType = StructType {
    name: "mount.Driver",
    fields: &[o("Name", S), o("Options", MSS)],
};

static IMAGE_OPTIONS: StructType = StructType {
    name: "mount.ImageOptions",
    fields: &[o("Subpath", S)],
};

static TMPFS_OPTIONS: StructType = StructType {
    name: "mount.TmpfsOptions",
    fields: &[
        o("SizeBytes", I64),
        o("Mode", &GoType::Uint("fs.FileMode")),
        o("Options", &GoType::List(None, SS)),
    ],
};

static NETWORK_SETTINGS: StructType = StructType {
    name: "container.NetworkSettings",
    fields: &[
        e("NetworkSettingsBase", &GoType::Struct(&NETWORK_BASE)),
        e("DefaultNetworkSettings", &GoType::Struct(&NETWORK_DEFAULT)),
        f(
            "Networks",
            &GoType::Map(None, "string", &GoType::Ptr(&GoType::Struct(&ENDPOINT))),
        ),
    ],
};

static ADDRESSES: &GoType = &GoType::List(
    None,
    &GoType::Struct(&StructType {
        name: "network.Address",
        fields: &[f("Addr", S), f("PrefixLen", I)],
    }),
);

static NETWORK_BASE: StructType = StructType {
    name: "container.NetworkSettingsBase",
    fields: &[
        f("Bridge", S),
        f("SandboxID", S),
        f("SandboxKey", S),
        f("Ports", PORT_MAP),
        f("HairpinMode", B),
        f("LinkLocalIPv6Address", S),
        f("LinkLocalIPv6PrefixLen", I),
        f("SecondaryIPAddresses", ADDRESSES),
        f("SecondaryIPv6Addresses", ADDRESSES),
    ],
};

static NETWORK_DEFAULT: StructType = StructType {
    name: "container.DefaultNetworkSettings",
    fields: &[
        f("EndpointID", S),
        f("Gateway", S),
        f("GlobalIPv6Address", S),
        f("GlobalIPv6PrefixLen", I),
        f("IPAddress", S),
        f("IPPrefixLen", I),
        f("IPv6Gateway", S),
        f("MacAddress", S),
    ],
};

static ENDPOINT: StructType = StructType {
    name: "network.EndpointSettings",
    fields: &[
        f("IPAMConfig", &GoType::Ptr(&GoType::Struct(&IPAM_CONFIG))),
        f("Links", SS),
        f("Aliases", SS),
        f("MacAddress", S),
        f("DriverOpts", MSS),
        f("GwPriority", I),
        f("NetworkID", S),
        f("EndpointID", S),
        f("Gateway", S),
        f("IPAddress", S),
        f("IPPrefixLen", I),
        f("IPv6Gateway", S),
        f("GlobalIPv6Address", S),
        f("GlobalIPv6PrefixLen", I),
        f("DNSNames", SS),
    ],
};

static IPAM_CONFIG: StructType = StructType {
    name: "network.EndpointIPAMConfig",
    fields: &[
        o("IPv4Address", S),
        o("IPv6Address", S),
        o("LinkLocalIPs", SS),
    ],
};
