//! What the command line prints: templates, tables, rows and documents in Docker's shapes.
//!
//! Everything here is pure: data in, text out. The commands gather rows from the engine and write
//! the text; whoever writes to a terminal says so, and values are then shown without the control
//! characters that a container or image might have put into them.

pub(crate) mod inspect;
pub(crate) mod rows;
pub(crate) mod table;
pub(crate) mod template;
pub(crate) mod text;
pub(crate) mod typed;
