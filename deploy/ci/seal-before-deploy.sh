#!/bin/sh
# Seals what a deployment is about to change into one signed archive in storage. The pipeline goes on only if all of it
# is there: every exit code but 0 ends it, also 3, which says that something could not be read.
#
#   SALVAGE_STORAGE=s3://example-backups/deployments sh seal-before-deploy.sh NAME PATH...
#
# SALVAGE_RECIPIENTS    public keys of those who can open it, one to a line
# SALVAGE_SIGNING_KEY   the file with the OpenSSH private key that signs it
#
# The runner has nothing that opens an archive, and a storage credential that may only create is enough.
set -eu
: "${SALVAGE_STORAGE:?names the storage, as a URL}"
: "${SALVAGE_RECIPIENTS:?holds the public keys}"
: "${SALVAGE_SIGNING_KEY:?names the file with the signing key}"
name=$1
shift
archive=$SALVAGE_STORAGE/$name.tar.zst.age
chmod 600 "$SALVAGE_SIGNING_KEY"
printf '%s\n' "$SALVAGE_RECIPIENTS" |
  salvage seal --no-progress --recipients-file - --signing-key "$SALVAGE_SIGNING_KEY" --output "$archive" "$@"
printf 'Sealed: %s\n' "$archive"
