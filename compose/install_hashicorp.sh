#!/usr/bin/env bash
# install_hashicorp.sh PRODUCT VERSION FOLDER: one of HashiCorp's programs, only if HashiCorp signed it.
#
# The list of checksums is verified with HashiCorp's key, the key by its fingerprint, the archive by the list. An
# expired or revoked key is refused: gpg alone would take it with status 0. To hold a release to one very archive
# besides, set ARCHIVE_SHA256.
set -euo pipefail

: "${HASHICORP_KEY_FINGERPRINT:?expected the fingerprint of the key that signs releases}"
releases=${HASHICORP_RELEASES:-https://releases.hashicorp.com}
key=${HASHICORP_KEY:-https://www.hashicorp.com/.well-known/pgp-key.txt}

if [ $# -ne 3 ]; then
    echo "usage: $0 PRODUCT VERSION FOLDER" >&2
    exit 2
fi
product=$1 version=$2 folder=$3
case ${TARGETARCH:-$(uname -m)} in
    amd64 | x86_64) architecture=amd64 ;;
    arm64 | aarch64) architecture=arm64 ;;
    *) echo "$product: HashiCorp has no Linux release for ${TARGETARCH:-$(uname -m)}" >&2; exit 1 ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -m 700 keyring
export GNUPGHOME=$work/keyring

archive=${product}_${version}_linux_${architecture}.zip
sums=${product}_${version}_SHA256SUMS
fetch() {
    curl --fail --silent --show-error --location --retry 3 --output "$1" "$2"
}
fetch key.txt "$key"
for name in "$sums" "$sums.sig" "$archive"; do
    fetch "$name" "$releases/$product/$version/$name"
done

gpg --batch --quiet --import key.txt
# VALIDSIG ends with the primary key's fingerprint; GOODSIG is not said of an expired or revoked key.
gpg --batch --status-fd 3 --verify "$sums.sig" "$sums" 3>status || true
if ! grep -q '^\[GNUPG:\] GOODSIG ' status || \
    ! grep -q "^\[GNUPG:\] VALIDSIG .* ${HASHICORP_KEY_FINGERPRINT}\$" status; then
    echo "$product $version: $sums is not signed by a valid key with the fingerprint $HASHICORP_KEY_FINGERPRINT" >&2
    exit 1
fi
# The name must be there: sha256sum finds nothing wrong with an empty list.
grep "  ${archive}\$" "$sums" >expected
sha256sum --check --status expected || { echo "$archive is not what HashiCorp signed" >&2; exit 1; }
if [ -n "${ARCHIVE_SHA256:-}" ]; then
    echo "$ARCHIVE_SHA256  $archive" | sha256sum --check --status ||
        { echo "$archive has not the checksum $ARCHIVE_SHA256" >&2; exit 1; }
fi
unzip -q -o "$archive" "$product" -d .
install -m 755 "$product" "$folder/$product"
