//! Kernel parameters that belong to a namespace.

/// What the kernel keeps for each IPC namespace, besides `fs.mqueue` (ipc_namespaces(7)).
pub const OF_IPC: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];
