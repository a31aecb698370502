//! What a long verb tells while it works. The engine never prints: `cli` and `api` decide what a
//! person sees of it.

use types::digest::Digest;

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A pull asked the registry and knows what it will fetch.
    Pulling {
        /// What is pulled, as Docker names it before the colon: the tag or the digest.
        selector: String,
        /// The repository's long name without the registry's, such as `library/nginx`.
        repository: String,
    },
    /// A layer went on.
    Layer {
        /// The first digits of its digest.
        id: String,
        /// What is done with it now.
        progress: LayerProgress,
    },
    /// The digest of what a reference means now.
    Resolved {
        /// That of the index or manifest.
        digest: Digest,
    },
    /// A layer of a push went on.
    Push {
        /// The first digits of its diff id, as Docker has it.
        id: String,
        /// What is done with it now.
        progress: PushProgress,
    },
    /// A piece of an archive was read, or written.
    Archive {
        /// Bytes so far.
        bytes: u64,
    },
}

/// Where a layer is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerProgress {
    /// It must be fetched.
    Waiting,
    /// It is here already.
    Exists,
    /// It arrives, and is unpacked as it does.
    Downloading {
        /// Bytes so far.
        received: u64,
        /// All its bytes.
        size: u64,
    },
    /// All its bytes are here and are what they should be.
    Downloaded,
    /// It is unpacked and published.
    Complete,
}

/// Where a layer of a push is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushProgress {
    /// It is looked at.
    Preparing,
    /// Its archive is made, for the first time.
    Packing,
    /// It is being sent.
    Pushing {
        /// Bytes so far.
        sent: u64,
        /// All its bytes.
        size: u64,
    },
    /// It was sent.
    Pushed,
    /// The registry has it already.
    Exists,
    /// The registry took it from this repository of its own.
    Mounted(String),
}

/// Who wants to know. Called from several threads at once.
pub trait Observer: Sync {
    /// Takes note of an event. Must return soon: the work waits.
    fn event(&self, event: Event);
}

/// Nobody wants to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _event: Event) {}
}
