//! Caisson storage.
