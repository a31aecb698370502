//! Furniture for tests.
