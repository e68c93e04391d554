//! Writes the Rust code of the protos: `protogen <api dir> <out dir>`. Run through `cargo xtask generate`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let api = arguments.next().ok_or("usage: protogen <api dir> <out dir>")?;
    let out = arguments.next().ok_or("usage: protogen <api dir> <out dir>")?;
    let files = protox::compile(["runtime/v1/runtime.proto", "artifact/v1/artifact.proto"], [&api])?;
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .build_transport(true)
        .out_dir(out)
        .compile_fds(files)?;
    Ok(())
}
