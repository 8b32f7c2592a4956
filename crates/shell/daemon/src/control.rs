//! How the command line speaks with the daemon that runs already: over a Unix socket beside its state.
//!
//! One connection is one question: a JSON document, the end of writing, a JSON document back. It carries what only the
//! process that holds the state may do, and is no second interface for machines: whoever asks is root or the user that the
//! daemon runs as, which the system vouches for.

use std::future::Future;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Shutdown;

/// The longest path of a socket in bytes: `sun_path` of unix(7) without the byte that ends it.
const LONGEST_PATH: usize = 107;
/// The largest question in bytes.
const LARGEST_QUESTION: u64 = 64 * 1024;
/// The largest answer in bytes.
const LARGEST_ANSWER: u64 = 16 * 1024 * 1024;
/// How long a question may take to arrive.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);
/// How long answers in progress may take after the wish to end.
const GRACE: Duration = Duration::from_secs(5);
/// So many questions are worked on at a time; more wait in the system's queue.
const QUESTIONS: usize = 32;
/// How long is waited when the system has no resources for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// The command line and the daemon cannot speak.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The system has no room for the path.
    #[error(
        "the path of the socket `{}` has {} bytes, and the system takes {LONGEST_PATH}: choose a shorter state folder",
        .0.display(), .0.as_os_str().len()
    )]
    PathTooLong(PathBuf),
    /// Something that is no socket stands there.
    #[error("`{}` is no socket: move it away", .0.display())]
    InTheWay(PathBuf),
    /// Another daemon listens there.
    #[error("another process listens on `{}`: end that one first", .0.display())]
    InUse(PathBuf),
    /// The system refused.
    #[error("cannot {action} the socket `{}`", path.display())]
    System {
        /// What was attempted, e.g. `listen on`.
        action: &'static str,
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The daemon did not answer in time. What was asked for may still be done.
    #[error("the daemon on `{}` gave no answer within {} s; it may still be at it", path.display(), limit.as_secs_f32())]
    TooSlow {
        /// The socket.
        path: PathBuf,
        /// How long was waited.
        limit: Duration,
    },
    /// The daemon did not take the question.
    #[error("the daemon refuses: {0}")]
    Refused(String),
    /// The daemon ended, or answered what this program does not understand.
    #[error("the daemon on `{}` gave no answer to be understood: it ended meanwhile, or is of another version", path.display())]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// What is wrong with the answer.
        source: serde_json::Error,
    },
}

/// What travels back.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reply<A> {
    Answer(A),
    Refused(String),
}

/// Answers questions on the socket at `path` until `shutdown`; questions in progress get five seconds to be answered. A
/// socket that a crash left is replaced. The folder has to exist, and has to be closed to others.
pub async fn serve_control<Q, A, F, W>(path: &Path, mut shutdown: Shutdown, handler: F) -> Result<(), ControlError>
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
    F: Fn(Q) -> W + Clone + Send + Sync + 'static,
    W: Future<Output = A> + Send + 'static,
{
    let listener = listen(path).await?;
    let mut questions = JoinSet::new();
    loop {
        // Each is cancel-safe: a connection that is not accepted yet stays in the queue, an answer that is not collected in
        // the set.
        let accepted = tokio::select! {
            () = shutdown.requested() => break,
            Some(_) = questions.join_next() => continue,
            accepted = listener.accept(), if questions.len() < QUESTIONS => accepted,
        };
        match accepted {
            Ok((stream, _)) => drop(questions.spawn(answer(stream, handler.clone()))),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of the command line");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    // From here on nobody listens, and the command line does by itself what it would have asked for.
    let _ = std::fs::remove_file(path);
    drop(listener);
    let _unfinished = timeout(GRACE, async { while questions.join_next().await.is_some() {} }).await;
    Ok(())
}

/// Asks the daemon that listens at `path`; `None` where none does. `limit` is for all of it.
pub async fn ask<Q: Serialize, A: DeserializeOwned>(
    path: &Path,
    question: &Q,
    limit: Duration,
) -> Result<Option<A>, ControlError> {
    if is_too_long(path) {
        return Ok(None);
    }
    let system = |action| move |source| ControlError::System { action, path: path.to_owned(), source };
    let conversation = async {
        let mut stream = match UnixStream::connect(path).await {
            Err(error) if is_deserted(&error) => return Ok(None),
            stream => stream.map_err(system("connect to"))?,
        };
        let question = serde_json::to_vec(question).map_err(|error| system("write to")(error.into()))?;
        let mut reply = Vec::new();
        let written = write(&mut stream, &question).await;
        let read = (&mut stream).take(LARGEST_ANSWER).read_to_end(&mut reply).await;
        // Who refuses does so without reading to the end; what it says is better than that it stopped reading.
        if reply.is_empty() {
            written.and(read.map(drop)).map_err(system("speak through"))?;
        }
        match serde_json::from_slice(&reply) {
            Ok(Reply::Answer(answer)) => Ok(Some(answer)),
            Ok(Reply::Refused(why)) => Err(ControlError::Refused(why)),
            Err(source) => Err(ControlError::NoAnswer { path: path.to_owned(), source }),
        }
    };
    let late = |_| ControlError::TooSlow { path: path.to_owned(), limit };
    timeout(limit, conversation).await.map_err(late)?
}

async fn listen(path: &Path) -> Result<UnixListener, ControlError> {
    if is_too_long(path) {
        return Err(ControlError::PathTooLong(path.to_owned()));
    }
    let system = |action| move |source| ControlError::System { action, path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(system("look at")(error)),
        Ok(stat) if !stat.file_type().is_socket() => return Err(ControlError::InTheWay(path.to_owned())),
        Ok(_) => match UnixStream::connect(path).await {
            Err(error) if is_deserted(&error) => std::fs::remove_file(path).map_err(system("replace"))?,
            _ => return Err(ControlError::InUse(path.to_owned())),
        },
    }
    let listener = UnixListener::bind(path).map_err(system("listen on"))?;
    // Until here the folder and the question's sender are what protects it.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(system("close"))?;
    Ok(listener)
}

async fn answer<Q: DeserializeOwned, A: Serialize, F: Fn(Q) -> W, W: Future<Output = A>>(
    mut stream: UnixStream,
    handler: F,
) {
    let reply = match question(&mut stream).await {
        Ok(question) => Reply::Answer(handler(question).await),
        Err(why) => Reply::Refused(why),
    };
    match serde_json::to_vec(&reply) {
        // Who does not wait for the answer does not need it.
        Ok(reply) => drop(write(&mut stream, &reply).await),
        Err(error) => tracing::error!(%error, "an answer to the command line cannot be written"),
    }
}

/// The question, or why it is none that is answered.
async fn question<Q: DeserializeOwned>(stream: &mut UnixStream) -> Result<Q, String> {
    let who = stream.peer_cred().map_err(|error| format!("it cannot see who asks: {error}"))?.uid();
    if !may_ask(who, rustix::process::geteuid().as_raw()) {
        return Err(format!("user {who} may not ask; run as root, or as the user that it runs as"));
    }
    let mut text = Vec::new();
    let mut question = stream.take(LARGEST_QUESTION + 1);
    let reading = question.read_to_end(&mut text);
    match timeout(QUESTION_LIMIT, reading).await {
        Err(_) => return Err(format!("the question did not arrive within {} s", QUESTION_LIMIT.as_secs())),
        Ok(Err(error)) => return Err(format!("the question did not arrive: {error}")),
        Ok(Ok(_)) if text.len() as u64 > LARGEST_QUESTION => {
            return Err(format!("the question is larger than {LARGEST_QUESTION} bytes"));
        }
        Ok(Ok(_)) => {}
    }
    serde_json::from_slice(&text)
        .map_err(|error| format!("it does not know this question ({error}); restart it, if it was upgraded"))
}

async fn write(stream: &mut UnixStream, document: &[u8]) -> io::Result<()> {
    stream.write_all(document).await?;
    stream.shutdown().await
}

fn may_ask(who: u32, daemon: u32) -> bool {
    who == 0 || who == daemon
}

fn is_too_long(path: &Path) -> bool {
    path.as_os_str().len() > LONGEST_PATH
}

/// Whether an error says that nobody listens.
fn is_deserted(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;
    use crate::{Chain, Trigger};

    type Promise = Result<(), Box<dyn Error>>;

    const SOON: Duration = Duration::from_secs(10);

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    enum Question {
        Add { left: u32, right: u32 },
        Never,
        Slowly,
    }

    async fn respond(question: Question) -> u32 {
        match question {
            Question::Add { left, right } => left + right,
            Question::Never => std::future::pending().await,
            Question::Slowly => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                7
            }
        }
    }

    type Serving = tokio::task::JoinHandle<Result<(), ControlError>>;

    /// A daemon that can add, listening when this returns.
    async fn daemon(path: &Path) -> Result<(Trigger, Serving), Box<dyn Error>> {
        let (trigger, shutdown) = Shutdown::by_hand();
        let place = path.to_owned();
        let serving = tokio::spawn(async move { serve_control(&place, shutdown, respond).await });
        let ready = async {
            while UnixStream::connect(path).await.is_err() && !serving.is_finished() {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, ready).await?;
        Ok((trigger, serving))
    }

    fn said(error: &ControlError, folder: &Path) -> String {
        Chain(error).to_string().replace(&folder.display().to_string(), "state")
    }

    /// What the daemon replies to bytes that are no question of ours.
    async fn reply_to(path: &Path, bytes: &[u8]) -> io::Result<String> {
        let mut stream = UnixStream::connect(path).await?;
        let _ = write(&mut stream, bytes).await;
        let mut reply = String::new();
        let _ = stream.read_to_string(&mut reply).await;
        Ok(reply)
    }

    #[tokio::test]
    async fn questions_are_answered_side_by_side_until_the_end_and_then_nobody_listens() -> Promise {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("control");
        assert_eq!(ask::<_, u32>(&path, &Question::Slowly, SOON).await?, None);
        let (trigger, serving) = daemon(&path).await?;
        assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        let (slow, sum) = (Question::Slowly, Question::Add { left: 1, right: 2 });
        let slow = ask::<_, u32>(&path, &slow, SOON);
        let sums = async {
            let mut sums = Vec::new();
            for _ in 0..100 {
                sums.push(ask::<_, u32>(&path, &sum, SOON).await);
            }
            trigger.pull();
            sums
        };
        let (slow, sums) = tokio::join!(slow, sums);
        assert_eq!(slow?, Some(7), "what was asked before the end is answered");
        for sum in sums {
            assert_eq!(sum?, Some(3));
        }
        serving.await??;
        assert_eq!(ask::<_, u32>(&path, &sum, SOON).await?, None);
        assert!(!path.exists());
        Ok(())
    }

    #[tokio::test]
    async fn a_socket_that_a_crash_left_is_replaced_and_one_that_is_used_is_not() -> Promise {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("control");
        drop(std::os::unix::net::UnixListener::bind(&path)?);
        assert_eq!(ask::<_, u32>(&path, &Question::Never, SOON).await?, None);
        let (_trigger, _serving) = daemon(&path).await?;
        let sum = Question::Add { left: 1, right: 2 };
        assert_eq!(ask::<_, u32>(&path, &sum, SOON).await?, Some(3));

        let (_second, shutdown) = Shutdown::by_hand();
        let refused = serve_control(&path, shutdown, respond).await.err().ok_or("two listen")?;
        assert_eq!(said(&refused, folder.path()), "another process listens on `state/control`: end that one first");
        assert_eq!(ask::<_, u32>(&path, &sum, SOON).await?, Some(3));
        Ok(())
    }

    #[tokio::test]
    async fn where_no_socket_can_be_the_way_out_is_said() -> Promise {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("control"), "mine")?;
        let long = folder.path().join("x".repeat(LONGEST_PATH - folder.path().as_os_str().len()));
        let fits = folder.path().join("x".repeat(LONGEST_PATH - folder.path().as_os_str().len() - 1));
        let mut said = Vec::new();
        for path in [folder.path().join("control"), folder.path().join("missing/control"), long.clone()] {
            let (_trigger, shutdown) = Shutdown::by_hand();
            let refused = serve_control(&path, shutdown, respond).await.err().ok_or("it listens")?;
            said.push(self::said(&refused, folder.path()).replace(&"x".repeat(20), ""));
        }
        assert_eq!(said[0], "`state/control` is no socket: move it away");
        let missing = "cannot listen on the socket `state/missing/control`: No such file or directory (os error 2)";
        assert_eq!(said[1], missing);
        let too_long = "bytes, and the system takes 107: choose a shorter state folder";
        assert!(said[2].ends_with(too_long) && said[2].contains("has 108 "), "{}", said[2]);
        assert_eq!(std::fs::read_to_string(folder.path().join("control"))?, "mine");
        assert_eq!(ask::<_, u32>(&long, &Question::Never, SOON).await?, None, "nobody can listen there");
        let (_trigger, _serving) = daemon(&fits).await?;
        assert_eq!(ask(&fits, &Question::Add { left: 1, right: 2 }, SOON).await?, Some(3));
        Ok(())
    }

    #[tokio::test]
    async fn what_is_no_question_is_refused_and_harms_nobody() -> Promise {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("control");
        let (_trigger, _serving) = daemon(&path).await?;
        let refused = ask::<_, u32>(&path, &"rollback", SOON).await.err().ok_or("it was answered")?;
        let expected = "the daemon refuses: it does not know this question (unknown variant `rollback`, expected one of \
                        `add`, `never`, `slowly` at line 1 column 10); restart it, if it was upgraded";
        assert_eq!(said(&refused, folder.path()), expected);
        let huge = ask::<_, u32>(&path, &"x".repeat(1_000_000), SOON).await.err().ok_or("it was answered")?;
        assert_eq!(said(&huge, folder.path()), "the daemon refuses: the question is larger than 65536 bytes");
        for bytes in [&b""[..], b"{", b"\xff\xfe", b"[[[[[[[["] {
            assert!(reply_to(&path, bytes).await?.starts_with(r#"{"refused":"#));
        }
        // Silence and an answer that nobody waits for.
        let _silent = UnixStream::connect(&path).await?;
        drop(write(&mut UnixStream::connect(&path).await?, br#"{"add":{"left":1,"right":2}}"#).await);
        assert_eq!(ask(&path, &Question::Add { left: 1, right: 2 }, SOON).await?, Some(3));
        Ok(())
    }

    #[tokio::test]
    async fn silence_is_given_up() -> Promise {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("control");
        let (trigger, serving) = daemon(&path).await?;
        let late = ask::<_, u32>(&path, &Question::Never, Duration::from_millis(500)).await.err().ok_or("an answer")?;
        let expected = "the daemon on `state/control` gave no answer within 0.5 s; it may still be at it";
        assert_eq!(said(&late, folder.path()), expected);
        let waiting = ask::<_, u32>(&path, &Question::Never, SOON);
        let (waited, ()) = tokio::join!(waiting, async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            trigger.pull();
        });
        let cut = waited.err().ok_or("an answer")?;
        assert!(matches!(cut, ControlError::NoAnswer { .. }), "{cut}");
        timeout(GRACE * 2, serving).await???;
        Ok(())
    }

    #[test]
    fn root_and_the_daemons_own_user_may_ask() {
        assert!(may_ask(0, 1000) && may_ask(1000, 1000));
        assert!(!may_ask(1001, 1000) && !may_ask(1000, 0));
    }
}
