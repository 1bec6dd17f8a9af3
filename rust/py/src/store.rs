//! Door of `store`: progress, layers and content.

#![allow(clippy::needless_pass_by_value, clippy::unused_self, reason = "Python's methods own what they extract")]

use std::ffi::OsString;
use std::os::fd::IntoRawFd;
use std::path::PathBuf;
use std::sync::Arc;

use ctr_core::archive;
use ctr_core::content::ContentStore;
use ctr_core::layer::input::{FileInput, apply_fd};
use ctr_core::layer::{ApplyLimits, DirectoryStore, LayerStore};
use ctr_core::progress::Phase;
use ctr_core::scratch::Scratch;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

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
    content: ContentStore,
    scratch: Arc<Scratch>,
}

#[pymethods]
impl Store {
    #[new]
    fn new(py: Python<'_>, root: PathBuf) -> PyResult<Self> {
        enter(py, || {
            let scratch = Scratch::open(&root)?;
            let layers = Arc::new(DirectoryStore::open(Arc::clone(&scratch))?);
            Ok(Self { layers, content: ContentStore::open(Arc::clone(&scratch))?, scratch })
        })
    }

    #[pyo3(signature = (data, digest=None))]
    fn put_blob(&self, py: Python<'_>, data: &[u8], digest: Option<&str>) -> PyResult<String> {
        enter(py, || self.content.put(data, digest))
    }

    fn read_blob<'py>(&self, py: Python<'py>, digest: &str) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &enter(py, || self.content.read(digest))?))
    }

    fn has_blob(&self, py: Python<'_>, digest: &str) -> PyResult<bool> {
        enter(py, || self.content.has(digest))
    }

    fn remove_blob(&self, py: Python<'_>, digest: &str) -> PyResult<()> {
        enter(py, || self.content.remove(digest))
    }

    fn blobs(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        enter(py, || self.content.list())
    }

    fn layer(&self, py: Python<'_>, diff_id: &str) -> PyResult<Option<LayerInfo>> {
        Ok(enter(py, || self.layers.layer(diff_id))?.map(LayerInfo::from))
    }

    fn layers(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        enter(py, || self.layers.layers())
    }

    fn remove_layer(&self, py: Python<'_>, diff_id: &str) -> PyResult<u64> {
        enter(py, || self.layers.remove_layer(diff_id))
    }

    #[pyo3(signature = (fd, *, diff_id, max_bytes, progress=None))]
    fn apply_layer(
        &self,
        py: Python<'_>,
        fd: i32,
        diff_id: Option<&str>,
        max_bytes: u64,
        progress: Option<&Progress>,
    ) -> PyResult<LayerInfo> {
        let progress = progress.map(|progress| &*progress.inner);
        let limits = ApplyLimits { max_bytes };
        enter(py, || apply_fd(&*self.layers, fd, diff_id, &limits, progress)).map(LayerInfo::from)
    }

    fn rootfs_lowers(&self, py: Python<'_>, diff_ids: Vec<String>) -> PyResult<Vec<OsString>> {
        let lowers = enter(py, || self.layers.rootfs_lowers(&diff_ids))?;
        Ok(lowers.into_iter().map(PathBuf::into_os_string).collect())
    }

    fn read_rootfs_file<'py>(
        &self,
        py: Python<'py>,
        diff_ids: Vec<String>,
        path: &str,
        max_bytes: u64,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let data = enter(py, || self.layers.read_rootfs_file(&diff_ids, path, max_bytes))?;
        Ok(data.map(|data| PyBytes::new(py, &data)))
    }

    #[pyo3(signature = (fd, *, max_bytes, progress=None))]
    fn unpack_archive(
        &self,
        py: Python<'_>,
        fd: i32,
        max_bytes: u64,
        progress: Option<&Progress>,
    ) -> PyResult<OsString> {
        let progress = progress.map(|progress| &*progress.inner);
        let limits = ApplyLimits { max_bytes };
        enter(py, || archive::unpack_archive(&self.scratch, &mut FileInput::new(fd, progress)?, &limits, progress))
            .map(PathBuf::into_os_string)
    }

    fn open_beneath(&self, py: Python<'_>, directory: PathBuf, path: PathBuf) -> PyResult<i32> {
        Ok(enter(py, || archive::open_beneath(&directory, &path))?.into_raw_fd())
    }

    fn discard(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        enter(py, || self.scratch.discard(&path))
    }

    fn sweep(&self, py: Python<'_>) -> PyResult<()> {
        enter(py, || self.layers.sweep())
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Progress>()?;
    module.add_class::<LayerInfo>()?;
    module.add_class::<Store>()
}
