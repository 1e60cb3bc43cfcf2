#!/bin/sh
# Builds a program of Go's module proxy into target/tools, and prints where it is.
# Argument: helm or kubectl-validate.
set -eu
case "$1" in
    helm) module=helm.sh/helm/v3/cmd/helm version=v3.22.0 ;;
    kubectl-validate) module=sigs.k8s.io/kubectl-validate version=v0.0.4 ;;
    *) echo "$0: there is no $1; helm and kubectl-validate can be had" >&2; exit 1 ;;
esac
tools=$(cd "$(dirname "$0")/.." && pwd)/target/tools
if [ ! -x "$tools/$1" ]; then
    command -v go >/dev/null 2>&1 || { echo "$1 needs Go to be built: install it from https://go.dev" >&2; exit 1; }
    mkdir -p "$tools"
    GOBIN=$tools go install "$module@$version" >&2
fi
echo "$tools/$1"
