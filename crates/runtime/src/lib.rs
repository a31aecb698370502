//! Caisson runtime.
