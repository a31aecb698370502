//! Caisson registry.
