//! The door between Python and the core: functions take plain values, call the core through [`gate::enter`], and hand
//! back small frozen objects. Nothing is decided here.

#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "the Python stub `_core.pyi` documents this module")]
#![allow(clippy::needless_pass_by_value, reason = "what is extracted from Python is owned")]

use pyo3::prelude::*;

mod containers;
mod doctor;
mod gate;
mod outcomes;
mod registry;
mod sessions;
mod store;

#[pymodule]
mod _core {
    use super::{
        Bound, PyModule, PyModuleMethods as _, PyResult, containers, doctor, gate, outcomes, registry, sessions, store,
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        gate::register(module)?;
        store::register(module)?;
        registry::register(module)?;
        outcomes::register(module)?;
        sessions::register(module)?;
        containers::register(module)?;
        doctor::register(module)
    }
}
