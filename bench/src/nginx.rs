//! The yardstick of serving: nginx on loopback, with the same bytes in a file.

use std::fs;
use std::net::SocketAddr;

use anyhow::Result;
use promises::{Daemon, Program, eventually, get};
use tempfile::TempDir;

/// A running nginx with two workers that serves one file, whatever it is asked for.
pub(crate) struct Nginx {
    _folder: TempDir,
    daemon: Option<Daemon>,
    pub(crate) address: SocketAddr,
}

impl Nginx {
    pub(crate) fn serving(body: &[u8], address: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let root = folder.path().display();
        fs::write(folder.path().join("body"), body)?;
        let user = "user root;";
        fs::write(
            folder.path().join("nginx.conf"),
            format!(
                "{user}\nworker_processes 2;\npid {root}/pid;\nerror_log {root}/error.log;\ndaemon off;\n\
                 events {{ worker_connections 1024; }}\n\
                 http {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  tcp_nodelay on;\n  open_file_cache max=10;\n\
                 \x20 keepalive_requests 10000000;\n  client_body_temp_path {root}/t1;\n  proxy_temp_path {root}/t2;\n\
                 \x20 fastcgi_temp_path {root}/t3;\n  uwsgi_temp_path {root}/t4;\n  scgi_temp_path {root}/t5;\n\
                 \x20 server {{ listen {address}; root {root}; location / {{ try_files /body =404; }} }}\n}}\n"
            ),
        )?;
        let program = Program::named("/usr/sbin/nginx").arg("-c").arg(folder.path().join("nginx.conf"));
        let daemon = Daemon::start(program, &folder.path().join("log"))?;
        eventually("nginx answers", || Ok((get(address, "/body")?.status == 200).then_some(())))?;
        Ok(Self { _folder: folder, daemon: Some(daemon), address })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Asked, not killed: it has to end its workers.
        let _already_ended = self.daemon.take().map(Daemon::end);
    }
}
