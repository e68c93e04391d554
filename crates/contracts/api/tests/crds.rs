//! The committed CRDs are the ones that the types generate.

use kruntimes_api::crd;
use std::path::Path;

#[test]
fn committed_crds_are_fresh() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../api/crds");
    let definitions = crd::definitions();
    assert_eq!(definitions.len(), 2);
    for definition in definitions {
        let path = directory.join(&definition.file);
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        let generated = crd::yaml(&definition.object);
        assert!(
            committed == generated,
            "{} differs from the types: run `cargo xtask generate`",
            path.display()
        );
    }
}
