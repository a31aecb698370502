//! The Dockerfile language: lines, instructions, words and stages.
