# Runs inside the build, between single quotes: write no single quote here.
# For up to 15 minutes after the versioning of a bucket was first switched on, S3 may answer 404 for new objects, and may put one without a version.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/manage-versioning-examples.html
# Any other answer fails the build at once, and this one when it stays.
import os
import subprocess
import sys
import time

verb, key, path, *content_type = sys.argv[1:]
bucket = os.environ["ARTIFACT_BUCKET"]
command = ["aws", "s3api", verb, "--bucket", bucket, "--key", key, "--query", "VersionId", "--output", "text"]
command += [path] if verb == "get-object" else ["--body", path, "--content-type", *content_type]
until, pause = time.monotonic() + 240, 1
while True:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    sys.stderr.write(done.stderr)
    version = done.stdout.strip()
    if done.returncode == 0 and (verb == "get-object" or version not in ("", "None", "null")):
        print(version)
        break
    passing = done.returncode == 0 or "(NoSuchKey)" in done.stderr or "(NoSuchVersion)" in done.stderr
    left = until - time.monotonic()
    where = "s3://" + bucket + "/" + key
    if not passing:
        sys.exit(verb + " of " + where + " failed.")
    if left < pause:
        sys.exit(verb + " of " + where + " failed. After versioning was switched on, that passes within 15 minutes; then release the change again.")
    print("S3 does not have a version of %s yet; again in %d s, for %d s more" % (where, pause, left), file=sys.stderr, flush=True)
    time.sleep(pause)
    pause = min(10, pause * 2)
