//! Real-kernel tests live in `it/`.
