//! `.dockerignore`: patterns of what stays out of a build context.
