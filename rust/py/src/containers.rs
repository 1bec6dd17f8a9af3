//! Door of `containers`: the verbs.

use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::PathBuf;

use ctr_core::container::{self, ExecStreams, StartStreams};
use pyo3::prelude::*;

use crate::gate::{duration, enter, enter_waiting};
use crate::outcomes::{ExecOutcome, ExitRecord, Probe, RunOutcome};
use crate::sessions::{Attachment, StartedContainer, StartedExec};

/// The caller's descriptors stay the caller's, whatever another thread does with them meanwhile.
fn copy(fd: Option<RawFd>) -> ctr_core::Result<Option<OwnedFd>> {
    fd.map(container::duplicate).transpose()
}

#[pyfunction]
fn set_shim(path: PathBuf) {
    container::set_shim(&path);
}

#[pyfunction]
fn release_spare_shims(py: Python<'_>) {
    py.detach(container::release_spare_shims);
}

#[pyfunction]
fn create_container(py: Python<'_>, container_dir: PathBuf, spec_json: &[u8]) -> PyResult<()> {
    enter(py, || container::create(&container_dir, spec_json))
}

#[pyfunction]
#[pyo3(signature = (container_dir, trash_dir, *, stdout_sink=None, stderr_sink=None, attach_stdin=false))]
fn start_container(
    py: Python<'_>,
    container_dir: PathBuf,
    trash_dir: PathBuf,
    stdout_sink: Option<RawFd>,
    stderr_sink: Option<RawFd>,
    attach_stdin: bool,
) -> PyResult<StartedContainer> {
    let started = enter_waiting(py, |interrupt| {
        let (stdout, stderr) = (copy(stdout_sink)?, copy(stderr_sink)?);
        let streams = StartStreams {
            stdout_sink: stdout.as_ref().map(AsFd::as_fd),
            stderr_sink: stderr.as_ref().map(AsFd::as_fd),
            attach_stdin,
        };
        container::start(&container_dir, &trash_dir, streams, interrupt)
    })?;
    Ok(StartedContainer(started))
}

#[pyfunction]
#[pyo3(signature = (container_dir, trash_dir, spec_json, *, input=None))]
fn run_container(
    py: Python<'_>,
    container_dir: PathBuf,
    trash_dir: PathBuf,
    spec_json: &[u8],
    input: Option<&[u8]>,
) -> PyResult<RunOutcome> {
    let outcome =
        enter_waiting(py, |interrupt| container::run(&container_dir, &trash_dir, spec_json, input, interrupt))?;
    RunOutcome::new(py, outcome)
}

#[pyfunction]
#[pyo3(signature = (container_dir, exec_json, *, stdin_fd=None, stdout_fd=None, stderr_fd=None, detach=false))]
fn exec_container(
    py: Python<'_>,
    container_dir: PathBuf,
    exec_json: &[u8],
    stdin_fd: Option<RawFd>,
    stdout_fd: Option<RawFd>,
    stderr_fd: Option<RawFd>,
    detach: bool,
) -> PyResult<StartedExec> {
    let started = enter_waiting(py, |interrupt| {
        let (stdin, stdout, stderr) = (copy(stdin_fd)?, copy(stdout_fd)?, copy(stderr_fd)?);
        let streams = ExecStreams {
            stdin: stdin.as_ref().map(AsFd::as_fd),
            stdout: stdout.as_ref().map(AsFd::as_fd),
            stderr: stderr.as_ref().map(AsFd::as_fd),
        };
        container::exec(&container_dir, exec_json, streams, detach, interrupt)
    })?;
    Ok(StartedExec(started))
}

#[pyfunction]
#[pyo3(signature = (container_dir, exec_json, *, input=None))]
fn exec_capture(
    py: Python<'_>,
    container_dir: PathBuf,
    exec_json: &[u8],
    input: Option<&[u8]>,
) -> PyResult<ExecOutcome> {
    let outcome = enter_waiting(py, |interrupt| container::exec_capture(&container_dir, exec_json, input, interrupt))?;
    ExecOutcome::new(py, outcome)
}

#[pyfunction]
#[pyo3(signature = (container_dir, *, stdout_sink, stderr_sink, stdin))]
fn attach_container(
    py: Python<'_>,
    container_dir: PathBuf,
    stdout_sink: Option<RawFd>,
    stderr_sink: Option<RawFd>,
    stdin: bool,
) -> PyResult<Attachment> {
    let attachment = enter_waiting(py, |interrupt| {
        let (stdout, stderr) = (copy(stdout_sink)?, copy(stderr_sink)?);
        let streams = StartStreams {
            stdout_sink: stdout.as_ref().map(AsFd::as_fd),
            stderr_sink: stderr.as_ref().map(AsFd::as_fd),
            attach_stdin: stdin,
        };
        container::attach(&container_dir, streams, interrupt)
    })?;
    Ok(Attachment(attachment))
}

#[pyfunction]
#[pyo3(signature = (container_dir, signal, *, everyone=false))]
fn signal_container(py: Python<'_>, container_dir: PathBuf, signal: i32, everyone: bool) -> PyResult<()> {
    enter(py, || container::signal(&container_dir, signal, everyone))
}

#[pyfunction]
fn resize_container(py: Python<'_>, container_dir: PathBuf, rows: u16, columns: u16) -> PyResult<()> {
    enter(py, || container::resize(&container_dir, rows, columns))
}

#[pyfunction]
#[pyo3(signature = (container_dir, timeout_s=None))]
fn wait_container(py: Python<'_>, container_dir: PathBuf, timeout_s: Option<f64>) -> PyResult<Option<ExitRecord>> {
    let timeout = duration(timeout_s)?;
    Ok(enter_waiting(py, |interrupt| container::wait(&container_dir, timeout, interrupt))?.map(ExitRecord))
}

#[pyfunction]
fn probe_container(py: Python<'_>, container_dir: PathBuf) -> PyResult<Probe> {
    enter(py, || container::probe(&container_dir)).map(Probe)
}

#[pyfunction]
fn repair_container(py: Python<'_>, container_dir: PathBuf, container_id: &str) -> PyResult<Probe> {
    enter(py, || container::repair(&container_dir, container_id)).map(Probe)
}

#[pyfunction]
fn remove_container(py: Python<'_>, container_dir: PathBuf, container_id: &str, trash_dir: PathBuf) -> PyResult<()> {
    enter_waiting(py, |interrupt| container::remove(&container_dir, container_id, &trash_dir, interrupt))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(set_shim, module)?)?;
    module.add_function(wrap_pyfunction!(release_spare_shims, module)?)?;
    module.add_function(wrap_pyfunction!(create_container, module)?)?;
    module.add_function(wrap_pyfunction!(start_container, module)?)?;
    module.add_function(wrap_pyfunction!(run_container, module)?)?;
    module.add_function(wrap_pyfunction!(exec_container, module)?)?;
    module.add_function(wrap_pyfunction!(exec_capture, module)?)?;
    module.add_function(wrap_pyfunction!(attach_container, module)?)?;
    module.add_function(wrap_pyfunction!(signal_container, module)?)?;
    module.add_function(wrap_pyfunction!(resize_container, module)?)?;
    module.add_function(wrap_pyfunction!(wait_container, module)?)?;
    module.add_function(wrap_pyfunction!(probe_container, module)?)?;
    module.add_function(wrap_pyfunction!(repair_container, module)?)?;
    module.add_function(wrap_pyfunction!(remove_container, module)?)
}
