//! System calls that rustix lacks, behind safe types. This crate exists so that every other crate may forbid `unsafe`.
