# Artifacts are taken from the checkout. What lies there under this name, a link or a folder, is not written through or into.
rm -rf "$CODEBUILD_SRC_DIR/execution-input.json" && cp execution-input.json "$CODEBUILD_SRC_DIR/execution-input.json"
