//! Caisson api.
