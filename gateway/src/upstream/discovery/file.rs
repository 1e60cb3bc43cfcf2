//! Files of endpoints, followed as the configuration is: by a thread for each, which reads a file that
//! is whole and tells the upstreams that name it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sallyport_config::watch::{self, Attempt, Followed as Watched, Waker};
use sallyport_stats::DiscoveryFailure;
use tokio::sync::watch::{Receiver, Sender};

use crate::config::{Endpoint, endpoints_file};

/// What a file holds: nothing before it was read, and nothing good where it is bad.
type Content = Option<Option<Arc<[Endpoint]>>>;

/// The files that upstreams name.
#[derive(Debug, Default)]
pub(super) struct Files(HashMap<PathBuf, File>);

#[derive(Debug)]
struct File {
    content: Arc<Sender<Content>>,
    /// `None` where no thread could be started.
    waker: Option<Waker>,
}

/// One upstream's view of a file.
#[derive(Debug)]
pub(super) struct Followed {
    path: PathBuf,
    content: Receiver<Content>,
}

impl Files {
    /// Follows the file at `path`, with a new thread if nobody does.
    pub(super) fn follow(&mut self, path: &Path) -> Followed {
        let file = self.0.entry(path.to_path_buf()).or_insert_with(|| start(path));
        let mut content = file.content.subscribe();
        content.mark_changed();
        Followed { path: path.to_path_buf(), content }
    }

    /// Lets the threads of files end that no upstream follows any more.
    pub(super) fn forget_unused(&mut self) {
        self.0.retain(|_, file| {
            let is_used = file.content.receiver_count() > 0;
            if !is_used && let Some(waker) = &file.waker {
                waker.ask();
            }
            is_used
        });
    }
}

fn start(path: &Path) -> File {
    let content = Arc::new(Sender::new(None));
    let (told, mut last) = (content.clone(), String::new());
    let spawned = watch::spawn(path.to_path_buf(), move |attempt| {
        let ended = Arc::strong_count(&told) == 1 && told.receiver_count() == 0;
        if !ended {
            read(attempt, &told, &mut last);
        }
        Watched { ended, ..Watched::default() }
    });
    let waker = spawned.map_err(|error| {
        tracing::error!(file = %path.display(), %error, "a file of endpoints cannot be followed");
    });
    File { content, waker: waker.ok() }
}

/// Tells what was read, unless it is what was told last.
fn read(attempt: Attempt, told: &Sender<Content>, last: &mut String) {
    let read = attempt.sources.and_then(|sources| {
        let read = endpoints_file::decode(&sources)?;
        Ok((sources.sha256().to_owned(), read))
    });
    match read {
        Ok((sha256, _)) if *last == sha256 => {}
        Ok((sha256, endpoints)) => {
            *last = sha256;
            told.send_replace(Some(Some(endpoints.into())));
        }
        Err(problems) => {
            let text = problems.to_string();
            if *last == text {
                return;
            }
            for problem in problems.iter() {
                tracing::error!("{problem}");
            }
            tracing::error!("the file of endpoints is not used: those read last stay");
            *last = text;
            told.send_replace(Some(None));
        }
    }
}

impl Followed {
    /// The file, as logs name it.
    pub(super) fn name(&self) -> Arc<str> {
        self.path.display().to_string().into()
    }

    /// What the file holds, as soon as it was not returned before.
    pub(super) async fn next(&mut self) -> Result<Vec<Endpoint>, DiscoveryFailure> {
        loop {
            if self.content.changed().await.is_err() {
                // Nobody reads it any more: the process ends.
                std::future::pending::<()>().await;
            }
            match &*self.content.borrow_and_update() {
                None => {}
                Some(None) => return Err(DiscoveryFailure::File),
                Some(Some(endpoints)) => return Ok(endpoints.to_vec()),
            }
        }
    }
}
