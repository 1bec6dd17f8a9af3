//! Layers: applying archives, whiteouts, the store.
