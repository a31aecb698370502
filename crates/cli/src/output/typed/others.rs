//! Go's types of images, networks, volumes, events, `version` and `info`.

use super::super::template::{GoType, STRING, StructType};
use super::container::{GRAPH_DRIVER, HEALTHCHECK, STRING_SET};
use super::words::{B, I, I64, MSA, MSS, PAIRS, S, SS, T, e, f, n, no, o};

/// `image.InspectResponse`
pub(crate) static IMAGE: GoType = GoType::Struct(&StructType {
    name: "image.InspectResponse",
    fields: &[
        n("ID", "Id", S),
        f("RepoTags", SS),
        f("RepoDigests", SS),
        f("Parent", S),
        f("Comment", S),
        o("Created", S),
        o("Container", S),
        f("DockerVersion", S),
        f("Author", S),
        f("Config", &GoType::Ptr(&GoType::Struct(&IMAGE_CONFIG))),
        f("Architecture", S),
        o("Variant", S),
        f("Os", S),
        o("OsVersion", S),
        f("Size", I64),
        o("VirtualSize", I64),
        f("GraphDriver", &GRAPH_DRIVER),
        f("RootFS", &GoType::Struct(&ROOT_FS)),
        f("Metadata", &GoType::Struct(&METADATA)),
        o("Descriptor", &GoType::Ptr(&GoType::Struct(&DESCRIPTOR))),
    ],
});

static IMAGE_CONFIG: StructType = StructType {
    name: "v1.DockerOCIImageConfig",
    fields: &[
        e("ImageConfig", &GoType::Struct(&OCI_CONFIG)),
        e(
            "DockerOCIImageConfigExt",
            &GoType::Struct(&CONFIG_EXTENSION),
        ),
    ],
};

static OCI_CONFIG: StructType = StructType {
    name: "v1.ImageConfig",
    fields: &[
        o("User", S),
        o("ExposedPorts", STRING_SET),
        o("Env", SS),
        o("Entrypoint", SS),
        o("Cmd", SS),
        o("Volumes", STRING_SET),
        o("WorkingDir", S),
        o("Labels", MSS),
        o("StopSignal", S),
        o("ArgsEscaped", B),
    ],
};

static CONFIG_EXTENSION: StructType = StructType {
    name: "v1.DockerOCIImageConfigExt",
    fields: &[
        o("Healthcheck", HEALTHCHECK),
        o("OnBuild", SS),
        o("Shell", SS),
    ],
};

static ROOT_FS: StructType = StructType {
    name: "image.RootFS",
    fields: &[o("Type", S), o("Layers", SS)],
};

static METADATA: StructType = StructType {
    name: "image.Metadata",
    fields: &[f("LastTagTime", T)],
};

/// `v1.Descriptor`
pub(super) static DESCRIPTOR: StructType = StructType {
    name: "v1.Descriptor",
    fields: &[
        n("MediaType", "mediaType", S),
        n("Digest", "digest", &GoType::Str("digest.Digest")),
        n("Size", "size", I64),
        no("URLs", "urls", SS),
        no("Annotations", "annotations", MSS),
    ],
};

/// `network.Inspect`
pub(crate) static NETWORK: GoType = GoType::Struct(&StructType {
    name: "network.Inspect",
    fields: &[
        f("Name", S),
        n("ID", "Id", S),
        f("Created", T),
        f("Scope", S),
        f("Driver", S),
        f("EnableIPv4", B),
        f("EnableIPv6", B),
        f("IPAM", &GoType::Struct(&IPAM)),
        f("Internal", B),
        f("Attachable", B),
        f("Ingress", B),
        f("ConfigFrom", &GoType::Struct(&CONFIG_REFERENCE)),
        f("ConfigOnly", B),
        f(
            "Containers",
            &GoType::Map(None, "string", &GoType::Struct(&ENDPOINT_RESOURCE)),
        ),
        f("Options", MSS),
        f("Labels", MSS),
    ],
});

static IPAM: StructType = StructType {
    name: "network.IPAM",
    fields: &[
        f("Driver", S),
        f("Options", MSS),
        f("Config", &GoType::List(None, &GoType::Struct(&IPAM_CONFIG))),
    ],
};

static IPAM_CONFIG: StructType = StructType {
    name: "network.IPAMConfig",
    fields: &[
        o("Subnet", S),
        o("IPRange", S),
        o("Gateway", S),
        no("AuxAddress", "AuxiliaryAddresses", MSS),
    ],
};

static CONFIG_REFERENCE: StructType = StructType {
    name: "network.ConfigReference",
    fields: &[f("Network", S)],
};

static ENDPOINT_RESOURCE: StructType = StructType {
    name: "network.EndpointResource",
    fields: &[
        f("Name", S),
        f("EndpointID", S),
        f("MacAddress", S),
        f("IPv4Address", S),
        f("IPv6Address", S),
    ],
};

/// `volume.Volume`
pub(crate) static VOLUME: GoType = GoType::Struct(&StructType {
    name: "volume.Volume",
    fields: &[
        o("CreatedAt", S),
        f("Driver", S),
        f("Labels", MSS),
        f("Mountpoint", S),
        f("Name", S),
        f("Options", MSS),
        f("Scope", S),
        o("Status", MSA),
        o("UsageData", &GoType::Ptr(&GoType::Struct(&USAGE_DATA))),
    ],
});

static USAGE_DATA: StructType = StructType {
    name: "volume.UsageData",
    fields: &[f("RefCount", I64), f("Size", I64)],
};

/// `events.Message`
pub(crate) static EVENT: GoType = GoType::Struct(&StructType {
    name: "events.Message",
    fields: &[
        no("Status", "status", S),
        no("ID", "id", S),
        no("From", "from", S),
        f("Type", &GoType::Str("events.Type")),
        f("Action", &GoType::Str("events.Action")),
        f("Actor", &GoType::Struct(&ACTOR)),
        no("Scope", "scope", S),
        no("Time", "time", I64),
        no("TimeNano", "timeNano", I64),
    ],
});

static ACTOR: StructType = StructType {
    name: "events.Actor",
    fields: &[f("ID", S), f("Attributes", MSS)],
};

/// `system.versionInfo`
pub(crate) static VERSION: GoType = GoType::Struct(&StructType {
    name: "system.versionInfo",
    fields: &[
        f("Client", &GoType::Struct(&CLIENT_VERSION)),
        f("Server", &GoType::Ptr(&GoType::Struct(&SERVER_VERSION))),
    ],
});

static CLIENT_VERSION: StructType = StructType {
    name: "system.clientVersion",
    fields: &[
        o("Platform", &GoType::Ptr(&GoType::Struct(&PLATFORM_INFO))),
        o("Version", S),
        no("APIVersion", "ApiVersion", S),
        o("DefaultAPIVersion", S),
        o("GitCommit", S),
        o("GoVersion", S),
        o("Os", S),
        o("Arch", S),
        o("BuildTime", S),
        f("Context", S),
    ],
};

static PLATFORM_INFO: StructType = StructType {
    name: "system.platformInfo",
    fields: &[o("Name", S)],
};

static SERVER_VERSION: StructType = StructType {
    name: "types.Version",
    fields: &[
        o(
            "Platform",
            &GoType::Struct(&StructType {
                name: "struct { Name string }",
                fields: &[f("Name", S)],
            }),
        ),
        o(
            "Components",
            &GoType::List(None, &GoType::Struct(&COMPONENT)),
        ),
        f("Version", S),
        n("APIVersion", "ApiVersion", S),
        o("MinAPIVersion", S),
        f("GitCommit", S),
        f("GoVersion", S),
        f("Os", S),
        f("Arch", S),
        o("KernelVersion", S),
        o("Experimental", B),
        o("BuildTime", S),
    ],
};

static COMPONENT: StructType = StructType {
    name: "types.ComponentVersion",
    fields: &[f("Name", S), f("Version", S), o("Details", MSS)],
};

/// `system.dockerInfo`
pub(crate) static INFO: GoType = GoType::Struct(&StructType {
    name: "system.dockerInfo",
    fields: &[
        e("Info", &GoType::Ptr(&GoType::Struct(&SYSTEM_INFO))),
        o("ServerErrors", SS),
        n("UserName", "", S),
        o("ClientInfo", &GoType::Ptr(&GoType::Struct(&CLIENT_INFO))),
        o("ClientErrors", SS),
    ],
});

static CLIENT_INFO: StructType = StructType {
    name: "system.clientInfo",
    fields: &[
        f("Debug", B),
        e("clientVersion", &GoType::Struct(&CLIENT_VERSION)),
        f(
            "Plugins",
            &GoType::List(Some("[]manager.Plugin"), &GoType::Any),
        ),
        f("Warnings", SS),
    ],
};

static COMMIT: &GoType = &GoType::Struct(&StructType {
    name: "system.Commit",
    fields: &[f("ID", S), o("Expected", S)],
});

static SYSTEM_INFO: StructType = StructType {
    name: "system.Info",
    fields: &[
        f("ID", S),
        f("Containers", I),
        f("ContainersRunning", I),
        f("ContainersPaused", I),
        f("ContainersStopped", I),
        f("Images", I),
        f("Driver", S),
        f("DriverStatus", PAIRS),
        o("SystemStatus", PAIRS),
        f("Plugins", &GoType::Struct(&PLUGINS_INFO)),
        f("MemoryLimit", B),
        f("SwapLimit", B),
        o("KernelMemory", B),
        o("KernelMemoryTCP", B),
        n("CPUCfsPeriod", "CpuCfsPeriod", B),
        n("CPUCfsQuota", "CpuCfsQuota", B),
        f("CPUShares", B),
        f("CPUSet", B),
        f("PidsLimit", B),
        f("IPv4Forwarding", B),
        f("Debug", B),
        f("NFd", I),
        f("OomKillDisable", B),
        f("NGoroutines", I),
        f("SystemTime", S),
        f("LoggingDriver", S),
        f("CgroupDriver", S),
        o("CgroupVersion", S),
        f("NEventsListener", I),
        f("KernelVersion", S),
        f("OperatingSystem", S),
        f("OSVersion", S),
        f("OSType", S),
        f("Architecture", S),
        f("IndexServerAddress", S),
        f(
            "RegistryConfig",
            &GoType::Ptr(&GoType::Struct(&REGISTRY_CONFIG)),
        ),
        f("NCPU", I),
        f("MemTotal", I64),
        f(
            "GenericResources",
            &GoType::List(Some("[]swarm.GenericResource"), &GoType::Any),
        ),
        f("DockerRootDir", S),
        n("HTTPProxy", "HttpProxy", S),
        n("HTTPSProxy", "HttpsProxy", S),
        f("NoProxy", S),
        f("Name", S),
        f("Labels", SS),
        f("ExperimentalBuild", B),
        f("ServerVersion", S),
        f(
            "Runtimes",
            &GoType::Map(None, "string", &GoType::Struct(&RUNTIME)),
        ),
        f("DefaultRuntime", S),
        f("Swarm", &GoType::Struct(&SWARM)),
        f("LiveRestoreEnabled", B),
        f("Isolation", &GoType::Str("container.Isolation")),
        f("InitBinary", S),
        f("ContainerdCommit", COMMIT),
        f("RuncCommit", COMMIT),
        f("InitCommit", COMMIT),
        f("SecurityOptions", SS),
        o("ProductLicense", S),
        o(
            "DefaultAddressPools",
            &GoType::List(None, &GoType::Struct(&ADDRESS_POOL)),
        ),
        o("FirewallBackend", &GoType::Ptr(&GoType::Struct(&FIREWALL))),
        f("CDISpecDirs", SS),
        o(
            "DiscoveredDevices",
            &GoType::List(None, &GoType::Struct(&DEVICE)),
        ),
        f("Warnings", SS),
    ],
};

static PLUGINS_INFO: StructType = StructType {
    name: "system.PluginsInfo",
    fields: &[
        f("Volume", SS),
        f("Network", SS),
        f("Authorization", SS),
        f("Log", SS),
    ],
};

static REGISTRY_CONFIG: StructType = StructType {
    name: "registry.ServiceConfig",
    fields: &[
        f(
            "IndexConfigs",
            &GoType::Map(None, "string", &GoType::Ptr(&GoType::Struct(&INDEX_INFO))),
        ),
        f(
            "InsecureRegistryCIDRs",
            &GoType::List(Some("[]*registry.NetIPNet"), &STRING),
        ),
        f("Mirrors", SS),
    ],
};

static INDEX_INFO: StructType = StructType {
    name: "registry.IndexInfo",
    fields: &[
        f("Name", S),
        f("Mirrors", SS),
        f("Secure", B),
        f("Official", B),
    ],
};

static RUNTIME: StructType = StructType {
    name: "system.RuntimeWithStatus",
    fields: &[
        no("Path", "path", S),
        no("Args", "runtimeArgs", SS),
        no("Type", "runtimeType", S),
        no("Options", "options", MSA),
        no("Status", "status", MSS),
    ],
};

static SWARM: StructType = StructType {
    name: "swarm.Info",
    fields: &[
        f("NodeID", S),
        f("NodeAddr", S),
        f("LocalNodeState", &GoType::Str("swarm.LocalNodeState")),
        f("ControlAvailable", B),
        f("Error", S),
        f(
            "RemoteManagers",
            &GoType::List(Some("[]swarm.Peer"), &GoType::Any),
        ),
        o("Nodes", I),
        o("Managers", I),
        o("Warnings", SS),
    ],
};

static ADDRESS_POOL: StructType = StructType {
    name: "system.NetworkAddressPool",
    fields: &[f("Base", S), f("Size", I)],
};

static FIREWALL: StructType = StructType {
    name: "system.FirewallInfo",
    fields: &[f("Driver", S), o("Info", PAIRS)],
};

static DEVICE: StructType = StructType {
    name: "system.DeviceInfo",
    fields: &[f("Source", S), f("ID", S)],
};
