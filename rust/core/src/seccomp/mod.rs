//! Compiling system call filters to BPF.
