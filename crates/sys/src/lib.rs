//! Caisson sys.
