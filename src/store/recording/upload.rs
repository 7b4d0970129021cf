//! Finished recordings on their way to S3-compatible storage: a thread that empties the spool folder.
//!
//! The folder is the queue: what is in it has not been uploaded, whatever became of the process that put it there. A
//! file leaves it once the storage has said that it has it all. What fails is tried again after a pause that doubles,
//! for as long as it takes; how long files wait there is bounded by `retention_days` and `size_mb_max` alone.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::Context;
use futures_util::{StreamExt, stream};
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig, WriteMultipart, aws::AmazonS3Builder,
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::disk::{self, Budget};
use crate::{
    config,
    net::tls,
    telemetry::{Level, Metrics},
};

/// The folder inside that of the recordings.
pub(super) const SPOOL: &str = "spool";
/// Files on their way at the same time.
const UPLOADS_MAX: usize = 2;
/// Files of one round; the rest comes in the next.
const ROUND_MAX: usize = 1_000;
/// A larger file goes in parts of this size, two at a time.
const PART_BYTES: usize = 8 << 20;
const PARTS_MAX: usize = 2;
/// The pause after the first failure; it doubles with each further one.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const RETRY_MAX: Duration = Duration::from_secs(300);
/// How long one request may take: a part at half a megabit a second.
const REQUEST_MAX: Duration = Duration::from_secs(150);
/// How long one file may take.
const FILE_MAX: Duration = Duration::from_secs(6 * 3600);

/// The way to the thread.
#[derive(Debug, Clone)]
pub(super) struct Uploader {
    wake: mpsc::Sender<()>,
    /// What the storage calls files of ours, up to their names.
    url: String,
}

struct Worker {
    store: Arc<dyn ObjectStore>,
    spool: PathBuf,
    prefix: String,
    /// Where files go afterwards; nowhere deletes them.
    kept: Option<PathBuf>,
    woken: mpsc::Receiver<()>,
    budget: Arc<Budget>,
    metrics: Metrics,
}

impl Uploader {
    pub(super) fn start(
        upload: &config::RecordingUpload,
        folder: &Path,
        budget: Arc<Budget>,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let (wake, woken) = mpsc::channel(1);
        let worker = Worker {
            store: store(upload)?,
            spool: folder.join(SPOOL),
            prefix: upload.prefix.clone(),
            kept: upload.keep_local.then(|| folder.to_owned()),
            woken,
            budget,
            metrics,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new()
            .name("recordings-upload".to_owned())
            .spawn(move || runtime.block_on(worker.run()))?;
        let url = format!("s3://{}/{}", upload.bucket, upload.prefix);
        Ok(Self { wake, url })
    }

    /// There is something new in the folder.
    pub(super) fn wake(&self) {
        // One that has been told already looks anyway; one that is gone has stopped.
        let _ = self.wake.try_send(());
    }

    /// Where a file of this name is going to be.
    pub(super) fn url(&self, name: &str) -> String {
        format!("{}{name}", self.url)
    }
}

/// The storage as configured. Nothing is sent before there is something to upload.
fn store(upload: &config::RecordingUpload) -> anyhow::Result<Arc<dyn ObjectStore>> {
    tls::install_crypto_provider();
    let plain = upload.endpoint.starts_with("http://");
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&upload.bucket)
        .with_region(&upload.region)
        .with_allow_http(plain)
        .with_client_options(ClientOptions::new().with_timeout(REQUEST_MAX).with_allow_http(plain))
        .with_retry(RetryConfig {
            max_retries: 2,
            retry_timeout: REQUEST_MAX,
            ..RetryConfig::default()
        });
    if !upload.endpoint.is_empty() {
        builder = builder.with_endpoint(upload.endpoint.trim_end_matches('/'));
    }
    if let (Some(id), Some(secret)) = (&upload.access_key_id, &upload.secret_access_key) {
        builder = builder
            .with_access_key_id(id.reveal())
            .with_secret_access_key(secret.reveal());
    }
    Ok(Arc::new(builder.build().context("[recording.upload] cannot be used")?))
}

impl Worker {
    /// Until nobody can put anything there any more.
    async fn run(mut self) {
        let mut pause = RETRY_MIN;
        loop {
            let failed = self.round().await;
            if failed == 0 {
                pause = RETRY_MIN;
            } else {
                tracing::warn!(
                    failed,
                    again_after_s = pause.as_secs(),
                    "recordings could not be uploaded"
                );
                sleep(jittered(pause)).await;
                pause = (pause * 2).min(RETRY_MAX);
            }
            // What another process was about is looked after in any case.
            let wait = if failed > 0 { Duration::ZERO } else { RETRY_MAX };
            if let Ok(None) = timeout(wait, self.woken.recv()).await {
                return;
            }
        }
    }

    /// Tries everything that waits once. Says how many failed.
    async fn round(&self) -> usize {
        let waiting = waiting(&self.spool);
        self.metrics.set_level(Level::RecordingUploadsPending, waiting.len());
        let tried = stream::iter(waiting)
            .map(|path| self.try_one(path))
            .buffer_unordered(UPLOADS_MAX);
        let failed = tried.filter(|done| std::future::ready(!done)).count().await;
        self.metrics
            .set_level(Level::RecordingUploadsPending, self::waiting(&self.spool).len());
        failed
    }

    async fn try_one(&self, path: PathBuf) -> bool {
        let uploaded = match timeout(FILE_MAX, self.upload(&path)).await {
            Ok(uploaded) => uploaded,
            Err(_) => Err(anyhow::anyhow!("it took longer than {} h", FILE_MAX.as_secs() / 3600)),
        };
        match uploaded {
            Ok(false) => true,
            Ok(true) => {
                self.metrics.recording_upload("ok");
                tracing::info!(path = %path.display(), "a recording was uploaded");
                true
            }
            Err(error) => {
                self.metrics.recording_upload("failed");
                tracing::warn!(path = %path.display(), error = format!("{error:#}"), "a recording could not be uploaded");
                false
            }
        }
    }

    /// Uploads a file and takes it out of the folder; false when another process does.
    async fn upload(&self, path: &Path) -> anyhow::Result<bool> {
        let mut file = File::open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .context("its name is not UTF-8")?;
        let place = object_store::path::Path::from(format!("{}{name}", self.prefix));
        let size = file.metadata()?.len();
        if size <= PART_BYTES as u64 {
            let mut bytes = Vec::with_capacity(size as usize);
            file.read_to_end(&mut bytes)?;
            self.store.put(&place, PutPayload::from(bytes)).await?;
        } else {
            self.upload_parts(&mut file, &place).await?;
        }
        self.take_out(path, name, size)?;
        Ok(true)
    }

    async fn upload_parts(&self, file: &mut File, place: &object_store::path::Path) -> anyhow::Result<()> {
        let mut upload = WriteMultipart::new_with_chunk_size(self.store.put_multipart(place).await?, PART_BYTES);
        let mut part = vec![0; PART_BYTES];
        loop {
            let length = match file.read(&mut part) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) => return abandon(upload, error.into()).await,
            };
            if let Err(error) = upload.wait_for_capacity(PARTS_MAX).await {
                return abandon(upload, error.into()).await;
            }
            upload.write(&part[..length]);
        }
        upload.finish().await?;
        Ok(())
    }

    fn take_out(&self, path: &Path, name: &str, size: u64) -> io::Result<()> {
        match &self.kept {
            Some(folder) => disk::rename(path, &folder.join(name)),
            None => {
                fs::remove_file(path)?;
                self.budget.give_back(size);
                Ok(())
            }
        }
    }
}

/// Parts that nobody will put together cost money until they are thrown away.
async fn abandon(upload: WriteMultipart, error: anyhow::Error) -> anyhow::Result<()> {
    // If that fails as well, the storage has its own rules for what was never finished.
    let _ = upload.abort().await;
    Err(error)
}

/// The files that wait, as many as one round takes, oldest names first.
fn waiting(spool: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(spool) else {
        return Vec::new();
    };
    let whole = |path: &PathBuf| path.extension().is_some_and(|end| end != disk::PART);
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(whole).collect();
    files.sort();
    files.truncate(ROUND_MAX);
    files
}

/// Between half of it and all of it, so that many gateways do not come together.
fn jittered(pause: Duration) -> Duration {
    let share = getrandom::u32().unwrap_or(u32::MAX);
    pause / 2 + pause.mul_f64(f64::from(share) / f64::from(u32::MAX)) / 2
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn files_of_any_size_arrive_whole_and_are_kept_where_that_is_wanted() {
        for kept in [false, true] {
            let desk = Desk::new(&format!("kept-{kept}"), kept);
            let small = desk.spool("a.wav", 5);
            let large = desk.spool("b.wav", 2 * PART_BYTES + 77);
            desk.spool("c.wav.part", 5);
            assert_eq!(desk.worker.round().await, 0);
            for (name, bytes) in [("a.wav", &small), ("b.wav", &large)] {
                assert_eq!(&desk.stored(name).await.unwrap(), bytes);
                assert_eq!(desk.folder.join(name).exists(), kept);
            }
            assert!(
                desk.stored("c.wav.part").await.is_none(),
                "what is not whole is not uploaded"
            );
            assert_eq!(waiting(&desk.worker.spool), Vec::<PathBuf>::new());
            let uploaded = "patchcord_recording_uploads_total{result=\"ok\"} 2";
            assert!(desk.worker.metrics.render().contains(uploaded));
        }
    }

    #[tokio::test]
    async fn one_that_cannot_be_uploaded_stays_and_holds_up_no_other() {
        let desk = Desk::new("odd", false);
        fs::create_dir_all(desk.worker.spool.join("a.wav")).unwrap();
        let good = desk.spool("b.wav", 9);
        assert_eq!(desk.worker.round().await, 1);
        assert_eq!(desk.stored("b.wav").await.unwrap(), good);
        assert_eq!(waiting(&desk.worker.spool).len(), 1);
        assert_eq!(desk.worker.metrics.level(Level::RecordingUploadsPending), 1);
    }

    #[tokio::test]
    async fn what_another_process_uploads_is_left_to_it() {
        let desk = Desk::new("other", false);
        desk.spool("a.wav", 5);
        let file = File::open(desk.worker.spool.join("a.wav")).unwrap();
        file.lock().unwrap();
        assert_eq!(desk.worker.round().await, 0);
        assert!(desk.stored("a.wav").await.is_none());
        drop(file);
        assert_eq!(desk.worker.round().await, 0);
        assert!(desk.stored("a.wav").await.is_some());
    }

    #[test]
    fn pauses_are_spread_over_half_of_themselves() {
        let pauses: Vec<Duration> = (0..100).map(|_| jittered(RETRY_MIN)).collect();
        assert!(pauses.iter().all(|pause| (RETRY_MIN / 2..=RETRY_MIN).contains(pause)));
        assert!(pauses.iter().min() < pauses.iter().max());
    }

    struct Desk {
        folder: PathBuf,
        store: Arc<InMemory>,
        worker: Worker,
    }

    impl Desk {
        fn new(name: &str, kept: bool) -> Self {
            let folder = std::env::temp_dir().join(format!("patchcord-{}-upload-{name}", std::process::id()));
            let spool = folder.join(SPOOL);
            fs::create_dir_all(&spool).unwrap();
            let store = Arc::new(InMemory::new());
            let worker = Worker {
                store: store.clone(),
                spool,
                prefix: "in/".to_owned(),
                kept: kept.then(|| folder.clone()),
                woken: mpsc::channel(1).1,
                budget: Arc::new(Budget::new(0, None)),
                metrics: Metrics::new(),
            };
            Self { folder, store, worker }
        }

        fn spool(&self, name: &str, length: usize) -> Vec<u8> {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            fs::write(self.worker.spool.join(name), &bytes).unwrap();
            bytes
        }

        async fn stored(&self, name: &str) -> Option<Vec<u8>> {
            let found = self.store.get(&format!("in/{name}").into()).await.ok()?;
            Some(found.bytes().await.unwrap().to_vec())
        }
    }

    impl Drop for Desk {
        fn drop(&mut self) {
            // Only litter.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
