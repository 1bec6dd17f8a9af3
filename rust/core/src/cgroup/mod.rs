//! Control groups: finding the hierarchies and planning (the shim carries the plan out).
