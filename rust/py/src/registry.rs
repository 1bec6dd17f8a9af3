//! Door of `registry`.

use std::path::PathBuf;
use std::time::Duration;

use ctr_core::layer::ApplyLimits;
use ctr_core::registry::{Credentials, LayerBlob, RegistryOptions};
use ctr_core::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::gate::enter;
use crate::store::{LayerInfo, Progress, Store};

#[pyclass(frozen, module = "pyrust_ctr._core")]
struct RegistryResponse {
    inner: ctr_core::registry::RegistryResponse,
}

#[pymethods]
impl RegistryResponse {
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.body)
    }

    #[getter]
    fn media_type(&self) -> &str {
        &self.inner.media_type
    }

    #[getter]
    fn digest(&self) -> Option<&str> {
        self.inner.digest.as_deref()
    }
}

#[pyclass(frozen, module = "pyrust_ctr._core")]
struct Registry {
    inner: ctr_core::registry::Registry,
}

#[pymethods]
impl Registry {
    #[new]
    #[pyo3(signature = (base_url, *, username=None, password=None, identity_token=None, insecure=false, ca_file=None, timeout_s=30.0))]
    #[expect(clippy::too_many_arguments, reason = "the signature is the Python one")]
    fn new(
        py: Python<'_>,
        base_url: &str,
        username: Option<String>,
        password: Option<String>,
        identity_token: Option<String>,
        insecure: bool,
        ca_file: Option<PathBuf>,
        timeout_s: f64,
    ) -> PyResult<Self> {
        let inner = enter(py, || {
            let timeout = Duration::try_from_secs_f64(timeout_s).map_err(|_| {
                Error::new(ErrorKind::InvalidArgument, "the time-out of a registry has to be a number of seconds")
            })?;
            let credentials = Credentials { username, password, identity_token };
            ctr_core::registry::Registry::new(base_url, &RegistryOptions { credentials, insecure, ca_file, timeout })
        })?;
        Ok(Self { inner })
    }

    fn ping(&self, py: Python<'_>) -> PyResult<()> {
        enter(py, || self.inner.ping())
    }

    #[expect(clippy::needless_pass_by_value, reason = "a Python list arrives as an owned value")]
    fn manifest(
        &self,
        py: Python<'_>,
        repository: &str,
        reference: &str,
        accept: Vec<String>,
    ) -> PyResult<RegistryResponse> {
        let inner = enter(py, || self.inner.manifest(repository, reference, &accept))?;
        Ok(RegistryResponse { inner })
    }

    fn blob<'py>(&self, py: Python<'py>, repository: &str, digest: &str, size: u64) -> PyResult<Bound<'py, PyBytes>> {
        let content = enter(py, || self.inner.blob(repository, digest, size))?;
        Ok(PyBytes::new(py, &content))
    }

    #[pyo3(signature = (store, repository, digest, size, diff_id, *, max_bytes, progress=None))]
    #[expect(clippy::too_many_arguments, reason = "the signature is the Python one")]
    fn pull_layer(
        &self,
        py: Python<'_>,
        store: &Store,
        repository: &str,
        digest: &str,
        size: u64,
        diff_id: &str,
        max_bytes: u64,
        progress: Option<&Progress>,
    ) -> PyResult<LayerInfo> {
        let blob = LayerBlob { repository, digest, size, diff_id };
        let limits = ApplyLimits { max_bytes };
        let progress = progress.map(|progress| &progress.inner);
        let layer = enter(py, || self.inner.pull_layer(&*store.layers, &blob, limits, progress))?;
        Ok(layer.into())
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RegistryResponse>()?;
    module.add_class::<Registry>()
}
