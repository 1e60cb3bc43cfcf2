#!/bin/sh
# Checks the manifests and the chart in every form that its values give it: helm finds nothing wrong, every object is
# one that the API server takes (kubectl-validate, by the server's own schemas), the gateway and the classifier take
# the files that are in them, and the chart grants what the plain manifests grant and not more.
# Argument: the gateway's binary, which has the classifier's beside it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
binaries=$(cd "$(dirname "$1")" && pwd)
helm=$(sh "$root/loadtest/install-go.sh" helm)
validate=$(sh "$root/loadtest/install-go.sh" kubectl-validate)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

fail() {
    echo "FAIL: $1" >&2
    exit 1
}

# The Gateway API's own definitions, for what is no part of a server.
definitions=$(GOFLAGS=-mod=mod go mod download -json sigs.k8s.io/gateway-api@v1.4.0 | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
mkdir "$work/crds"
cp "$definitions"/config/crd/standard/gateway.networking.k8s.io_*.yaml "$work/crds"
for file in "$here"/*.yaml; do
    # Definitions of the gateway's own kinds, where there are some.
    ! grep -q '^kind: CustomResourceDefinition' "$file" || cp "$file" "$work/crds"
done

# Arguments: a name, and values of the chart.
form() {
    local name="$1"
    shift
    "$helm" lint --quiet "$here/chart" "$@" || fail "helm lint of $name"
    "$helm" template edge "$here/chart" --namespace edge --kube-version 1.30.0 "$@" >"$work/$name.yaml" ||
        fail "helm template of $name"
}

# What the chart must not take.
refused() {
    local name="$1"
    shift
    ! "$helm" template edge "$here/chart" --kube-version 1.30.0 "$@" >/dev/null 2>&1 || fail "$name is not refused"
    echo "ok: $name is refused"
}

form default
form ingress --set gatewayApi=false
form gateways --set ingress=false,createClasses=false
form namespaces --set 'namespaces={shop,blog}'
form daemonset --set kind=DaemonSet,drain.preStop=0
form classifier --set kind=DaemonSet,classifier.enabled=true
form admin --set adminSecret=edge-admin
form closed --set-json 'networkPolicy.from=[{"ipBlock":{"cidr":"10.0.0.0/8"}}]' --set service.type=ClusterIP \
    --set-json 'config={"limits":{"routes":10},"upstreams":[]}' --set-json 'tolerations=[{"operator":"Exists"}]'
refused "the classifier of a Deployment" --set classifier.enabled=true
refused "a value that is not known" --set replica=3
refused "a section that the chart writes itself" --set-json 'config={"admin":{"address":"0.0.0.0:9901"}}'
refused "an offset that needs a privilege" --set portOffset=0

mkdir "$work/objects"
cp "$work"/*.yaml "$work/objects"
cp "$here"/*.yaml "$work/objects"
"$validate" --version 1.30 --local-crds "$work/crds" "$work/objects" >"$work/said" 2>&1 ||
    { cat "$work/said" >&2; fail "an object is not one that the API server takes"; }
echo "ok: every object is one that the API server takes"

PYTHONPATH=$(sh "$root/loadtest/install-python.sh" pyyaml 6.0.3) python3 "$here/manifests.py" "$binaries" "$here/sallyport.yaml" "$work"/*.yaml
echo "kubernetes manifests: all passed"
