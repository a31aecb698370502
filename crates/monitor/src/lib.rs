//! Caisson monitor.
