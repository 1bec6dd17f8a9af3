//! Door of `store`: progress, layers and content.

use std::path::PathBuf;
use std::sync::Arc;

use ctr_core::layer::{DirectoryStore, LayerStore};
use ctr_core::progress::Phase;
use pyo3::prelude::*;

use crate::gate::enter;

#[pyclass(frozen, module = "pyrust_ctr._core")]
pub(crate) struct Progress {
    pub(crate) inner: Arc<ctr_core::progress::Progress>,
}

#[pymethods]
impl Progress {
    #[new]
    fn new() -> Self {
        Self { inner: Arc::default() }
    }

    #[getter]
    fn current_bytes(&self) -> u64 {
        self.inner.bytes().0
    }

    #[getter]
    fn total_bytes(&self) -> u64 {
        self.inner.bytes().1
    }

    #[getter]
    fn phase(&self) -> &'static str {
        match self.inner.phase() {
            Phase::Waiting => "waiting",
            Phase::Downloading => "downloading",
            Phase::Extracting => "extracting",
            Phase::Complete => "complete",
            Phase::AlreadyExists => "already_exists",
        }
    }

    fn cancel(&self) {
        self.inner.cancel();
    }
}

#[pyclass(frozen, module = "pyrust_ctr._core")]
pub(crate) struct LayerInfo {
    inner: ctr_core::layer::LayerInfo,
}

impl From<ctr_core::layer::LayerInfo> for LayerInfo {
    fn from(inner: ctr_core::layer::LayerInfo) -> Self {
        Self { inner }
    }
}

#[pymethods]
impl LayerInfo {
    #[getter]
    fn diff_id(&self) -> &str {
        &self.inner.diff_id
    }

    #[getter]
    fn archive_bytes(&self) -> u64 {
        self.inner.archive_bytes
    }

    #[getter]
    fn disk_bytes(&self) -> u64 {
        self.inner.disk_bytes
    }

    #[getter]
    fn entries(&self) -> u64 {
        self.inner.entries
    }
}

#[pyclass(frozen, module = "pyrust_ctr._core")]
pub(crate) struct Store {
    pub(crate) layers: Arc<dyn LayerStore>,
}

#[pymethods]
impl Store {
    #[new]
    fn new(py: Python<'_>, root: PathBuf) -> PyResult<Self> {
        let layers = enter(py, || DirectoryStore::open(&root))?;
        Ok(Self { layers: Arc::new(layers) })
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Progress>()?;
    module.add_class::<LayerInfo>()?;
    module.add_class::<Store>()
}
