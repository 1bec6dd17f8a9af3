//! The one gate into the core: releases the GIL, maps the error.

use ctr_core::{Error, ErrorKind};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyString;

pyo3::create_exception!(_core, CoreError, PyException, "A failed core operation: (kind, message, errno, path).");

/// Runs `work` without the GIL and turns its error into a `CoreError`.
pub fn enter<T, F>(py: Python<'_>, work: F) -> PyResult<T>
where
    T: Send,
    F: FnOnce() -> ctr_core::Result<T> + Send,
{
    py.detach(work).map_err(|error| to_python(py, &error))
}

/// The Python exception for a core error.
pub fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    let path = error.path.as_ref().map(|path| path.to_string_lossy().into_owned());
    let exception = CoreError::new_err((error.kind.name(), error.message.clone(), error.errno, path.clone()));
    let value = exception.value(py);
    let set = |name: &str, attribute: Option<Bound<'_, PyAny>>| value.setattr(name, attribute);
    let filled = set("kind", Some(PyString::new(py, &error.kind.name()).into_any()))
        .and_then(|()| set("message", Some(PyString::new(py, &error.message).into_any())))
        .and_then(|()| value.setattr("errno", error.errno))
        .and_then(|()| value.setattr("path", path));
    filled.err().unwrap_or(exception)
}

/// Names of every error kind, for the completeness test of the translation table.
#[pyfunction]
fn error_kinds() -> Vec<String> {
    ErrorKind::ALL.iter().map(|kind| kind.name()).collect()
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("CoreError", module.py().get_type::<CoreError>())?;
    module.add_function(wrap_pyfunction!(error_kinds, module)?)
}
