//! The one gate into the core: releases the GIL, maps the error.

use std::time::Duration;

use ctr_core::container::Interrupt;
use ctr_core::{Error, ErrorKind};
use pyo3::exceptions::{PyException, PyValueError};
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

/// Like [`enter`], for work that waits: it asks now and then whether a signal handler of Python's raised something
/// (`KeyboardInterrupt`), ends then, and that is what is raised.
pub fn enter_waiting<T, F>(py: Python<'_>, work: F) -> PyResult<T>
where
    T: Send,
    F: FnOnce(Interrupt<'_>) -> ctr_core::Result<T> + Send,
{
    let mut raised: Option<PyErr> = None;
    let outcome = py.detach(|| {
        let mut check = || {
            #[allow(clippy::redundant_closure_for_method_calls, reason = "the method alone has too short a lifetime")]
            Python::attach(|py| py.check_signals()).map_err(|exception| {
                raised = Some(exception);
                Error::new(ErrorKind::Cancelled, "interrupted by a signal")
            })
        };
        work(&mut check)
    });
    match raised {
        Some(exception) => Err(exception),
        None => outcome.map_err(|error| to_python(py, &error)),
    }
}

/// The time of a `timeout_s` argument.
pub fn duration(timeout_s: Option<f64>) -> PyResult<Option<Duration>> {
    let Some(seconds) = timeout_s else { return Ok(None) };
    if seconds.is_nan() {
        return Err(PyValueError::new_err("the timeout is not a number"));
    }
    // What no clock can count to is as good as no limit.
    Ok(Duration::try_from_secs_f64(seconds.max(0.0)).ok())
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
