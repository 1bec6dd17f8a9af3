//! Door of `doctor`: what the machine has.

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::gate::enter;

#[pyclass(frozen, module = "pyrust_ctr._core")]
struct Feature(ctr_core::doctor::Feature);

#[pymethods]
impl Feature {
    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    #[getter]
    fn available(&self) -> bool {
        self.0.is_available
    }

    #[getter]
    fn required(&self) -> bool {
        self.0.is_required
    }

    #[getter]
    fn detail(&self) -> &str {
        &self.0.detail
    }

    #[getter]
    fn remedy(&self) -> &str {
        &self.0.remedy
    }
}

#[pyfunction]
fn doctor(py: Python<'_>, state_dir: PathBuf) -> PyResult<Vec<Feature>> {
    let features = enter(py, || Ok(ctr_core::doctor::examine(&state_dir)))?;
    Ok(features.into_iter().map(Feature).collect())
}

#[pyfunction]
fn host_cgroup_version(py: Python<'_>) -> PyResult<&'static str> {
    enter(py, || Ok(ctr_core::cgroup::host()?.version()))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Feature>()?;
    module.add_function(wrap_pyfunction!(doctor, module)?)?;
    module.add_function(wrap_pyfunction!(host_cgroup_version, module)?)
}
