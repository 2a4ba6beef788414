"""kubectl port-forward as people write it: each line of a script, and what becomes of it."""

from __future__ import annotations

import pytest

from kpf_supervise.importing.kubectl_lines import read

# A line, and the options that it gives; or → and why nothing is kept.
LINES = """
kubectl port-forward svc/web 8080:80
    target svc/web, ports 8080:80

kubectl --context x -n y port-forward --address 0.0.0.0 svc/web 8080:80 9090
    target svc/web, ports 8080:80 9090, namespace y, context x, address 0.0.0.0

kubectl -n=y port-forward pod/a :80
    target pod/a, ports :80, namespace y

kubectl port-forward -nshop a 80
    target a, ports 80, namespace shop

kubectl port-forward a 80 --namespace=shop --kubeconfig ~/dev.yaml
    target a, ports 80, namespace shop, kubeconfig ~/dev.yaml

KUBECONFIG=dev.yaml sudo -E kubectl port-forward svc/web 80
    target svc/web, ports 80, kubeconfig dev.yaml

k port-forward svc/web 80
    target svc/web, ports 80

oc port-forward svc/web 80
    target svc/web, ports 80

/usr/local/bin/kubectl1.31 port-forward svc/web 80
    target svc/web, ports 80

minikube kubectl -- -n shop port-forward svc/web 80
    target svc/web, ports 80, namespace shop

$KUBECTL port-forward svc/web 80
    target svc/web, ports 80

kubectl port-forward -p web-1 8080:80
    target web-1, ports 8080:80

kubectl port-forward 'svc/web' "8080:80" >/dev/null 2>&1 &
    target svc/web, ports 8080:80

kubectl port-forward svc/web 8080:80 &>log & PID=$!
    target svc/web, ports 8080:80

while true; do kubectl port-forward svc/web 8080:80; sleep 1; done
    target svc/web, ports 8080:80

until ! kubectl port-forward svc/web 8080:80 || true; do :; done
    target svc/web, ports 8080:80

(kubectl port-forward svc/web 8080:80 | tee log)
    target svc/web, ports 8080:80

bash -c "kubectl port-forward svc/web 8080:80"
    target svc/web, ports 8080:80

ssh bastion "bash -c 'kubectl port-forward svc/web 8080:80'"
    target svc/web, ports 8080:80

PID=$(kubectl port-forward svc/web 8080:80 & echo $!)
    target svc/web, ports 8080:80

tmux send-keys 'kubectl port-forward svc/web 8080:80' C-m
    target svc/web, ports 8080:80

kubectl port-forward svc/web 8080:80 # for the browser, don't stop it
    target svc/web, ports 8080:80

echo don't; kubectl port-forward svc/web 8080:80
    target svc/web, ports 8080:80

$ kubectl port-forward svc/web 8080:80
    target svc/web, ports 8080:80

kubectl port-forward $(kubectl get pods -n dev -l app=web -o name | head -1) 8080:80
    ports 8080:80, namespace dev, selector app=web

kubectl port-forward pod/`kubectl get pod --selector=app=web,tier=a -o jsonpath='{.items[0].metadata.name}'` 80 -n x
    ports 80, namespace x, selector app=web,tier=a

kubectl port-forward $(kubectl get po -l ready) 80
    ports 80, selector ready

kubectl port-forward $(./which-pod) 80
    target $(./which-pod), ports 80

kubectl port-forward -n "$NS" svc/${NAME} ${PORT:-80}
    target svc/${NAME}, ports ${PORT:-80}, namespace $NS

kubectl port-forward svc/web
    → it names no port

kubectl port-forward -n shop
    → it names no target

kubectl port-forward svc/web 80 --as admin --server=https://a
    → a context of the kubeconfig has to say which cluster and user it is, instead of --as, --server

kubectl port-forward svc/web 80 --pod-running-timeout 2m -v6 --address localhost,10.0.0.1
    target svc/web, ports 80, address localhost
    lost: the addresses 10.0.0.1: a forward has one. Declare one for each
    lost: --pod-running-timeout, --v

AWS_PROFILE=dev timeout 60 kubectl port-forward svc/web 80
    target svc/web, ports 80
    lost: the variable AWS_PROFILE
    lost: timeout: it runs until you stop it
"""
NOTHING = """
kubectl port-forward --help
# kubectl port-forward svc/web 80
echo "kubectl port-forward svc/web 80"
pkill -f 'kubectl port-forward'
alias kpf='kubectl port-forward'
kubectl get pods # port-forward
skaffold dev --port-forward
grep port-forward log
"""
TOLD = {
    "stern port-forward web": "port-forward of another program than kubectl: stern port-forward web",
    "kubectl config use-context prod": "it changes the context of what follows: kubectl config use-context prod",
    "export KUBECONFIG=~/a": "it changes the kubeconfig of what follows: export KUBECONFIG=~/a",
    "kubefwd services": None,
    "kubefwd version": "kubefwd without svc: version",
    "sudo kubefwd svc -A": "--all-namespaces: name each namespace",
}


@pytest.mark.parametrize("case", LINES.strip().split("\n\n"))
def test_line(case: str) -> None:
    line, said, *lost = (each.strip() for each in case.splitlines())
    found = read(line)
    (entry,) = found.forwards
    shown = ", ".join(f"{key} {' '.join(value) if key == 'ports' else value}" for key, value in entry.options.items())
    order = ("target", "ports", "namespace", "context", "kubeconfig", "address", "selector")
    parts = sorted(shown.split(", "), key=lambda part: order.index(part.split(" ")[0]))
    assert (f"→ {entry.refused}" if entry.refused else ", ".join(parts)) == said
    assert [f"lost: {each}" for each in entry.lost] == lost
    assert (entry.where, found.lost) == ("line 1", [])


@pytest.mark.parametrize("line", NOTHING.strip().splitlines())
def test_what_is_no_port_forward(line: str) -> None:
    found = read(line)
    assert (found.forwards, found.services, found.lost) == ([], [], [])


@pytest.mark.parametrize("line", TOLD)
def test_what_is_told(line: str) -> None:
    told = TOLD[line]
    assert read(line).lost == ([("line 1", told)] if told else [])


def test_several_on_one_line_and_lines_that_go_on() -> None:
    text = """
        kubectl port-forward svc/a 1; kubectl port-forward svc/b 2 && k port-forward svc/c 3 | cat
        kubectl \\
            -n shop \\
            port-forward svc/d \\
            4
        kubectl port-forward svc/e 5
    """
    found = [(entry.options["target"], entry.where) for entry in read(text).forwards]
    assert found == [
        ("svc/a", "line 2"),
        ("svc/b", "line 2"),
        ("svc/c", "line 2"),
        ("svc/d", "line 3"),
        ("svc/e", "line 7"),
    ]


def test_the_notes_of_a_helm_chart() -> None:
    text = """
        export POD_NAME=$(kubectl get pods --namespace default -l "app.kubernetes.io/name=a,release=b" -o name)
        kubectl --namespace default port-forward $POD_NAME 8080:80
    """
    (entry,) = read(text).forwards
    assert entry.options == {
        "namespace": "default",
        "selector": "app.kubernetes.io/name=a,release=b",
        "ports": ["8080:80"],
    }


def test_a_pod_that_may_be_another_one_is_not_known() -> None:
    text = "P=$(kubectl get pods -l app=a); P=$(kubectl get pods -l app=b); kubectl port-forward $P 80"
    assert [entry.options["target"] for entry in read(text).forwards] == ["$P"]


def test_kubefwd() -> None:
    line = "sudo -E kubefwd svc -n shop,data -l app=a -x dev --tui -m 80:8080 -f metadata.name!=canary -d local"
    found = read(line)
    assert [entry.options for entry in found.services] == [
        {"namespace": name, "context": "dev", "selector": "app=a", "address": "each", "exclude": ["canary"]}
        for name in ("shop", "data")
    ]
    assert found.services[0].lost == [
        "the names in /etc/hosts: a service is reached by its address and port",
        "--mapping, --domain",
    ]
    assert found.tool == "kubefwd's command line"
