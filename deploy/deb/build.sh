#!/usr/bin/env bash
# Makes the Debian package out of a release build, and prints its path as the last line.
#
#   cargo build --release --locked && deploy/deb/build.sh
#
# Needs cargo-deb (in PATH, or named by CARGO_DEB) and dpkg-dev. The binary writes its own completions and manual. The
# same commit makes the same package, octet by octet: every time in it is the commit's, or SOURCE_DATE_EPOCH.
# DEB_VERSION makes another version of it, DEB_FOLDER puts it elsewhere than into target/deb.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-$PWD/target}
cargo_deb=${CARGO_DEB:-cargo-deb}
relais=$target/release/relais
made=$target/deb
into=${DEB_FOLDER:-$made}
# cargo-deb looks for a binary in the folder of the build; what is written below must be where Cargo.toml says.
if [ "$target" != "$PWD/target" ]; then
    echo "CARGO_TARGET_DIR must be $PWD/target for the package" >&2
    exit 1
fi

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
version=${DEB_VERSION:-$version-1}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

rm -rf "$made/completions" "$made/man"
mkdir -p "$made/completions" "$made/man" "$into"
"$relais" completions bash >"$made/completions/relais"
"$relais" completions zsh >"$made/completions/_relais"
"$relais" completions fish >"$made/completions/relais.fish"
"$relais" man --dir "$made/man"
cat >"$made/changelog" <<EOF
relais ($version) stable; urgency=medium

  * See "Changes" in /usr/share/doc/relais/README.md.

 -- The Relais developers <relais@example.org>  $(LC_ALL=C date --utc --date="@$SOURCE_DATE_EPOCH" -R)
EOF

# The umask would show in folders.
umask 022
"$cargo_deb" --no-build --strip --quiet --deb-version "$version" --output "$into/relais_${version}_$(dpkg --print-architecture).deb"
