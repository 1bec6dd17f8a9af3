//! Unpacking whole archives into a scratch directory (`load`).
