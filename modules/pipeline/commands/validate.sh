# The very code that the functions run, checked against the digest that Terraform read from the file.
export PACKAGE="$PWD/package"
python3 -I "$OBJECTS" get-object "$PACKAGE_KEY" "$PACKAGE.zip" > /dev/null
echo "$PACKAGE_SHA256  $PACKAGE.zip" | sha256sum -c -
# Unpacked, because Python keeps nothing of what it compiles from an archive, and the steps of a build run one after another.
python3 -I -m zipfile -e "$PACKAGE.zip" "$PACKAGE"

# Validates as well; its errors name line and column, and its exit status fails the build.
python3 -I "$PACKAGE" compile

# With its version, so that nobody can change what was validated before it is released.
export MANIFEST_KEY="manifests/$PIPELINE_EXECUTION_ID/deployment.json"
export MANIFEST_VERSION_ID="$(python3 -I "$OBJECTS" put-object "$MANIFEST_KEY" deployment.json application/json)"
test -n "$MANIFEST_VERSION_ID" && test "$MANIFEST_VERSION_ID" != None
python3 -I "$PACKAGE" input
