//! Door of `containers`: what ended, as frozen objects.

use ctr_core::container::{self, ContainerState};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

#[pyclass(frozen, module = "pyrust_ctr._core")]
pub(crate) struct ExitRecord(pub(crate) ctr_spec::ExitRecord);

#[pymethods]
impl ExitRecord {
    #[getter]
    fn exit_code(&self) -> i32 {
        self.0.exit_code
    }

    #[getter]
    fn signal(&self) -> Option<i32> {
        self.0.signal
    }

    #[getter]
    fn oom_killed(&self) -> bool {
        self.0.oom_killed
    }

    #[getter]
    fn timed_out(&self) -> bool {
        self.0.timed_out
    }

    #[getter]
    fn peak_memory_bytes(&self) -> Option<u64> {
        self.0.peak_memory_bytes
    }

    #[getter]
    fn cpu_ns(&self) -> Option<u64> {
        self.0.cpu_ns
    }

    #[getter]
    fn started_at_ns(&self) -> u64 {
        self.0.started_at_ns
    }

    #[getter]
    fn finished_at_ns(&self) -> u64 {
        self.0.finished_at_ns
    }

    #[getter]
    fn duration_ns(&self) -> u64 {
        self.0.duration_ns
    }

    #[getter]
    fn failure(&self) -> Option<String> {
        self.0.failure.as_ref().map(container::sentence)
    }
}

#[pyclass(frozen, module = "pyrust_ctr._core")]
pub(crate) struct ExecExit(pub(crate) ctr_spec::ExecExit);

#[pymethods]
impl ExecExit {
    #[getter]
    fn exit_code(&self) -> i32 {
        self.0.exit_code
    }

    #[getter]
    fn signal(&self) -> Option<i32> {
        self.0.signal
    }

    #[getter]
    fn timed_out(&self) -> bool {
        self.0.timed_out
    }

    #[getter]
    fn oom_killed(&self) -> bool {
        self.0.oom_killed
    }

    #[getter]
    fn duration_ns(&self) -> u64 {
        self.0.duration_ns
    }
}

#[pyclass(frozen, module = "pyrust_ctr._core")]
pub(crate) struct Probe(pub(crate) container::Probe);

#[pymethods]
impl Probe {
    #[getter]
    fn state(&self) -> &'static str {
        self.0.state.name()
    }

    #[getter]
    fn pid(&self) -> Option<u32> {
        self.running().map(|started| started.pid)
    }

    #[getter]
    fn pid_start_time(&self) -> Option<u64> {
        self.running().map(|started| started.pid_start_time)
    }

    #[getter]
    fn started_at_ns(&self) -> Option<u64> {
        self.0.started.as_ref().map(|started| started.started_at_ns)
    }

    #[getter]
    fn exit(&self) -> Option<ExitRecord> {
        self.0.exit.clone().map(ExitRecord)
    }
}

impl Probe {
    /// A process id is only meant while the process is there.
    fn running(&self) -> Option<&ctr_spec::StartedRecord> {
        self.0.started.as_ref().filter(|_| self.0.state == ContainerState::Running)
    }
}

#[pyclass(frozen, get_all, module = "pyrust_ctr._core")]
pub(crate) struct RunOutcome {
    exit: Py<ExitRecord>,
    stdout: Py<PyBytes>,
    stderr: Py<PyBytes>,
    warnings: Vec<String>,
}

impl RunOutcome {
    pub(crate) fn new(py: Python<'_>, outcome: container::RunOutcome) -> PyResult<Self> {
        Ok(Self {
            exit: Py::new(py, ExitRecord(outcome.exit))?,
            stdout: PyBytes::new(py, &outcome.stdout).unbind(),
            stderr: PyBytes::new(py, &outcome.stderr).unbind(),
            warnings: outcome.warnings,
        })
    }
}

#[pyclass(frozen, get_all, module = "pyrust_ctr._core")]
pub(crate) struct ExecOutcome {
    exit: Py<ExecExit>,
    stdout: Py<PyBytes>,
    stderr: Py<PyBytes>,
}

impl ExecOutcome {
    pub(crate) fn new(py: Python<'_>, outcome: container::ExecOutcome) -> PyResult<Self> {
        Ok(Self {
            exit: Py::new(py, ExecExit(outcome.exit))?,
            stdout: PyBytes::new(py, &outcome.stdout).unbind(),
            stderr: PyBytes::new(py, &outcome.stderr).unbind(),
        })
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ExitRecord>()?;
    module.add_class::<ExecExit>()?;
    module.add_class::<Probe>()?;
    module.add_class::<RunOutcome>()?;
    module.add_class::<ExecOutcome>()
}
