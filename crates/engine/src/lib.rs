//! Caisson engine.
