//! The kernel features that the engine uses, and whether they are here.
