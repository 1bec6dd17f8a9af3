//! Door of `containers`: what runs, as objects that can be waited for.

use std::os::fd::{IntoRawFd, RawFd};

use ctr_core::container;
use pyo3::prelude::*;

use crate::gate::{duration, enter_waiting, to_python};
use crate::outcomes::{ExecExit, ExitRecord};

#[pyclass(frozen, module = "pyrust_ctr._core")]
pub(crate) struct StartedContainer(pub(crate) container::StartedContainer);

#[pymethods]
impl StartedContainer {
    #[getter]
    fn pid(&self) -> u32 {
        self.0.pid
    }

    #[getter]
    fn started_at_ns(&self) -> u64 {
        self.0.started_at_ns
    }

    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.0.warnings.clone()
    }

    fn take_stdin_fd(&self) -> Option<RawFd> {
        self.0.stdin.take().map(IntoRawFd::into_raw_fd)
    }

    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        self.0.session.raw_fd().map_err(|error| to_python(py, &error))
    }

    #[pyo3(signature = (timeout_s=None))]
    fn wait(&self, py: Python<'_>, timeout_s: Option<f64>) -> PyResult<Option<ExitRecord>> {
        let timeout = duration(timeout_s)?;
        Ok(enter_waiting(py, |interrupt| self.0.session.wait(timeout, interrupt))?.map(ExitRecord))
    }

    fn close(&self) {
        self.0.session.close();
    }
}

#[pyclass(frozen, module = "pyrust_ctr._core")]
pub(crate) struct StartedExec(pub(crate) container::StartedExec);

#[pymethods]
impl StartedExec {
    #[getter]
    fn pid(&self) -> u32 {
        self.0.pid
    }

    fn take_terminal_fd(&self) -> Option<RawFd> {
        self.0.terminal.take().map(IntoRawFd::into_raw_fd)
    }

    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        self.0.session.raw_fd().map_err(|error| to_python(py, &error))
    }

    #[pyo3(signature = (timeout_s=None))]
    fn wait(&self, py: Python<'_>, timeout_s: Option<f64>) -> PyResult<Option<ExecExit>> {
        let timeout = duration(timeout_s)?;
        Ok(enter_waiting(py, |interrupt| self.0.session.wait(timeout, interrupt))?.map(ExecExit))
    }

    fn close(&self) {
        self.0.session.close();
    }
}

#[pyclass(frozen, module = "pyrust_ctr._core")]
pub(crate) struct Attachment(pub(crate) container::Attachment);

#[pymethods]
impl Attachment {
    fn take_stdin_fd(&self) -> Option<RawFd> {
        self.0.stdin.take().map(IntoRawFd::into_raw_fd)
    }

    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        self.0.session.raw_fd().map_err(|error| to_python(py, &error))
    }

    #[pyo3(signature = (timeout_s=None))]
    fn wait(&self, py: Python<'_>, timeout_s: Option<f64>) -> PyResult<Option<ExitRecord>> {
        let timeout = duration(timeout_s)?;
        Ok(enter_waiting(py, |interrupt| self.0.session.wait(timeout, interrupt))?.map(ExitRecord))
    }

    fn close(&self) {
        self.0.session.close();
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<StartedContainer>()?;
    module.add_class::<StartedExec>()?;
    module.add_class::<Attachment>()
}
