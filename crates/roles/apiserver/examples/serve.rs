//! Serves the API alone, for trials with kubectl: `serve KUBECONFIG [DATA_DIR] CRD…`; stops at the end of its input.
use std::error::Error;
use std::io::Read as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use kruntimes_apiserver::{ApiServer, Identity, Options, TlsConfig, User, kubeconfig, serve_tls};
use kruntimes_daemon::Shutdown;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("usage: serve KUBECONFIG DATA_DIR|- CRD…")?;
    let data = arguments.next().filter(|d| d != "-").map(PathBuf::from);
    let crds = arguments
        .map(|path| Ok(serde_saphyr::from_str(&std::fs::read_to_string(path)?)?))
        .collect::<Result<_, Box<dyn Error>>>()?;
    let server = ApiServer::open(Options { data_dir: data, crds, ..Options::default() })?;
    let address = Ipv4Addr::LOCALHOST.into();
    let identity = Identity::create(None, address)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("https://{}", listener.local_addr()?);
    server.add_token("trial".to_owned(), User::admin("admin"));
    std::fs::write(file, kubeconfig(&url, &identity.ca_pem, "trial"))?;
    let (trigger, shutdown) = Shutdown::new();
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        if std::io::stdin().read_to_end(&mut rest).is_ok() {
            trigger.fire();
        }
    });
    serve_tls(server, TlsConfig::from(&identity), listener, shutdown).await?;
    Ok(())
}
