//! Starting containers and talking to their shims.
