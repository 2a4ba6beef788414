"""Files as the docs of other tools show them, with all that those tools know: what they are, what is printed from them,
and what is lost."""

from __future__ import annotations

KFTRAY = """[
  {"alias": "argocd", "service": "argocd-server", "namespace": "argocd", "local_port": 8888, "remote_port": 8080,
   "context": "test-cluster", "workload_type": "service", "protocol": "tcp", "domain_enabled": true, "id": 7},
  {"alias": "Debug API", "target": "app=backend,version=v2", "namespace": "staging", "local_port": 3000,
   "remote_port": 8080, "context": "test-cluster", "workload_type": "pod", "protocol": "tcp",
   "local_address": "127.0.0.5", "kubeconfig": "default", "http_logs_enabled": false},
  {"service": "metrics", "namespace": "argocd", "local_port": 0, "remote_port": 9090, "context": "test-cluster",
   "workload_type": "service", "protocol": "tcp"},
  {"alias": "dns", "service": "coredns", "namespace": "kube-system", "local_port": 5353, "remote_port": 53,
   "context": "test-cluster", "workload_type": "service", "protocol": "udp"},
  {"alias": "external-db", "remote_address": "postgresql.example.com", "namespace": "default", "local_port": 5432,
   "remote_port": 5432, "context": "test-cluster", "workload_type": "proxy", "protocol": "tcp"},
  {"alias": "shop.example.com", "namespace": "production", "local_port": 3000, "workload_type": "expose",
   "protocol": "tcp", "exposure_type": "public", "cert_issuer": "letsencrypt"}
]
"""
OF_KFTRAY = """\
# Imported from it (kftray) by kpf-supervise --import.
# not kept: kftray takes the remote port of a service for a port of its pods; here it is a port of the service. \
Where they differ, write that of the service
forwards:
  argocd:
    target: service/argocd-server
    ports: "8888:8080"
    namespace: argocd
    context: test-cluster
    # configurations[0]: not kept: domain_enabled
  Debug-API:
    selector: "app=backend,version=v2"
    ports: "3000:8080"
    namespace: staging
    context: test-cluster
    address: "127.0.0.5"
  metrics:
    target: service/metrics
    ports: ":9090"
    namespace: argocd
    context: test-cluster
  # configurations[3]: not kept: its protocol is udp, and kubectl can forward TCP only
  # dns:
  #   target: service/coredns
  #   ports: "5353:53"
  #   namespace: kube-system
  #   context: test-cluster
  # configurations[4]: not kept: for it, kftray puts a pod into the cluster that relays to postgresql.example.com
  # external-db:
  #   target: service/
  #   ports: "5432:5432"
  #   namespace: default
  #   context: test-cluster
  # configurations[5]: not kept: its workload_type is expose, which is no port-forward to the cluster
  # shop.example.com:
  #   target: service/
  #   ports: "3000:"
  #   namespace: production
"""

KUBEPORT = """
context: my-cluster
namespace: default
log_file: /var/log/kubeport.log
services:
  - name: My API
    service: my-api
    local_port: 8080
    remote_port: 80
  - name: Redis
    pod: redis-0
    local_port: 6379
    remote_port: 6379
    lazy: true
  - {name: Vault, service: vault, local_port: 8200, remote_port: 8200, namespace: vault}
  - name: Debug Server
    service: debug-svc
    local_port: 0          # any free port
    remote_port: 9090
    network: {latency: 50ms}
  - name: Platform
    service: platform-svc
    ports: all
    exclude_ports: [metrics]
  - name: Backend
    service: backend-svc
    local_port_offset: 10000
    ports:
      - grpc
      - name: http
        local_port: 8081
      - port: 9000
supervisor: {max_restarts: 10}
"""
KUBEPORT_TOML = """
context = "my-cluster"
namespace = "default"

[[services]]
name = "My API"
service = "my-api"
local_port = 8080
remote_port = 80

[[services]]
name = "Backend"
service = "backend-svc"
ports = ["http"]

[socks]
listen = "127.0.0.1:1080"
"""
OF_KUBEPORT = """\
# Imported from it (kubeport) by kpf-supervise --import.
# not kept: log_file, supervisor
context: my-cluster
namespace: default
forwards:
  My-API:
    target: service/my-api
    ports: "8080:80"
  Redis:
    target: pod/redis-0
    ports: "6379:6379"
    lazy: true
  Vault:
    target: service/vault
    ports: "8200:8200"
    namespace: vault
  Debug-Server:
    target: service/debug-svc
    ports: ":9090"
    # services[3]: not kept: network
  # services[4]: not kept: it forwards all ports. Name each
  # Platform:
  #   target: service/platform-svc
  Backend:
    target: service/backend-svc
    ports: [":grpc", "8081:http", "19000:9000"]
    # services[5]: not kept: the local port of grpc, which is the service's + 10000
"""
OF_KUBEPORT_TOML = """\
# Imported from it (kubeport) by kpf-supervise --import.
# not kept: socks
context: my-cluster
namespace: default
forwards:
  My-API:
    target: service/my-api
    ports: "8080:80"
  Backend:
    target: service/backend-svc
    ports: ":http"
    # services[1]: not kept: the local port of http, which is the service's
"""

LOCALPORT = """
version: "1.0"
defaults:
  health_check: {type: tcp, interval: 30}
services:
  - name: postgres
    technology: kubectl
    local_port: 5432
    remote_port: 5432
    connection:
      resource_type: service
      resource_name: postgres
      namespace: ${KUBE_NAMESPACE:default}
      context: ${KUBE_CONTEXT:minikube}
  - name: kafka
    technology: kubectl
    local_port: 9092
    remote_port: 9092
    connection: {resource_name: kafka, namespace: kafka, context: minikube}
    tags: [messaging]
    restart_policy: {max_attempts: 3}
  - name: api
    technology: kubectl
    local_port: 8080
    remote_port: 80
    connection: {resource_type: deployment, resource_name: api-server}
    enabled: false
  - name: redis
    technology: ssh
    local_port: 6379
    remote_port: 6379
    connection: {host: redis.example.com, user: deploy, password: hunter2}
"""
OF_LOCALPORT = """\
# Imported from it (localport) by kpf-supervise --import.
# not kept: defaults
forwards:
  # services[0]: not kept: what ${KUBE_NAMESPACE:default} stands for is not known. Write it there
  # postgres:
  #   target: service/postgres
  #   ports: "5432:5432"
  #   namespace: "${KUBE_NAMESPACE:default}"
  #   context: "${KUBE_CONTEXT:minikube}"
  kafka:
    target: service/kafka
    ports: "9092:9092"
    namespace: kafka
    context: minikube
    # services[1]: not kept: tags, restart_policy
  api:
    target: deployment/api-server
    ports: "8080:80"
    namespace: default
    enabled: false
  # services[3]: not kept: its technology is ssh, and here it is always kubectl
  # redis:
"""

SKAFFOLD = """apiVersion: skaffold/v4beta13
kind: Config
metadata:
  name: shop
build:
  artifacts:
    - image: frontend
deploy:
  kubeContext: orbstack
  kubectl: {}
portForward:
  - resourceType: service
    resourceName: frontend
    port: 3000
  - resourceType: Deployment
    resourceName: api
    namespace: shop
    port: 8080
    localPort: 9000
    address: 0.0.0.0
  - resourceType: service
    resourceName: nginx
    port: 80
  - resourceType: service
    resourceName: metrics
    namespace: "{{.NAMESPACE}}"
    port: http
    localPort: 9100
  - resourceType: cronjob
    resourceName: nightly
    port: 8080
profiles:
  - name: staging
    portForward: [{resourceType: service, resourceName: other, port: 4000}]
---
apiVersion: skaffold/v4beta13
kind: Config
requires:
  - path: ./backend
"""
OF_SKAFFOLD = """\
# Imported from it (skaffold) by kpf-supervise --import.
# document 1: profiles[0]: not kept: the port-forwards of the profile staging
# document 2: requires: not kept: other files are not read. Import each
forwards:
  frontend:
    target: service/frontend
    ports: "3000:3000"
    context: orbstack
  api:
    target: deployment/api
    ports: "9000:8080"
    namespace: shop
    context: orbstack
    address: "0.0.0.0"
  nginx:
    target: service/nginx
    ports: ":80"
    context: orbstack
    # document 1: portForward[2]: not kept: the local port: 80 mostly needs root, and skaffold takes another one then
  # document 1: portForward[3]: not kept: what {{.NAMESPACE}} stands for is not known. Write it there
  # metrics:
  #   target: service/metrics
  #   ports: "9100:http"
  #   namespace: "{{.NAMESPACE}}"
  #   context: orbstack
  # document 1: portForward[4]: not kept: "cronjob" is not a kind of target. Use one of pod, service, deployment, \
statefulset, daemonset, replicaset.
  # nightly:
  #   target: cronjob/nightly
  #   ports: "8080:8080"
  #   context: orbstack
"""

DEVSPACE = """version: v2beta1
name: shop
deployments:
  app: {helm: {values: {}}}
dev:
  app:
    labelSelector:
      app.kubernetes.io/name: devspace-app
      app.kubernetes.io/component: backend
    namespace: shop
    ports:
      - port: "8080:80"
      - port: "3000"
        bindAddress: 0.0.0.0
    reversePorts:
      - port: "5678:6678"
    sync: [{path: ./}]
  worker:
    imageSelector: ghcr.io/org/project/worker
    ports:
      - port: "9229"
profiles:
  - name: production
    patches: [{op: remove, path: dev.app.ports}]
"""
OF_DEVSPACE = """\
# Imported from it (devspace) by kpf-supervise --import.
# dev.app.reversePorts: not kept: from the cluster to here is not possible
# profiles[0]: not kept: the ports of the profile production
forwards:
  app:
    selector: "app.kubernetes.io/name=devspace-app,app.kubernetes.io/component=backend"
    ports: "8080:80"
    namespace: shop
  app-3000:
    selector: "app.kubernetes.io/name=devspace-app,app.kubernetes.io/component=backend"
    ports: "3000:3000"
    namespace: shop
    address: "0.0.0.0"
  # dev.worker.ports[0]: not kept: pods are chosen by labels here: write selector: with those of its pods \
(of the image ghcr.io/org/project/worker)
  # worker:
  #   ports: "9229:9229"
"""

OLD_DEVSPACE = """version: v1beta11
images:
  backend: {image: john/devbackend}
dev:
  ports:
  - name: devbackend
    labelSelector:
      app: devbackend
    forward:
    - port: 8080
      remotePort: 80
    - port: 3000
      bindAddress: localhost
    reverseForward:
    - port: 9000
  - imageSelector: john/debugger
    forward:
    - port: 2345
"""
OF_OLD_DEVSPACE = """\
# Imported from it (devspace) by kpf-supervise --import.
# dev.ports[0].reverseForward: not kept: from the cluster to here is not possible
forwards:
  devbackend:
    selector: "app=devbackend"
    ports: "8080:80"
  devbackend-3000:
    selector: "app=devbackend"
    ports: "3000:3000"
  # dev.ports[1].forward[0]: not kept: pods are chosen by labels here: write selector: with those of its pods \
(of the image john/debugger)
  # forward:
  #   ports: "2345:2345"
"""

OLDEST_DEVSPACE = """version: v1alpha4
devSpace:
  selectors:
  - name: default
    namespace: team
    labelSelector: {release: devspace-default}
  ports:
  - selector: default
    portMappings:
    - localPort: 3000
      remotePort: 80
"""
OF_OLDEST_DEVSPACE = """\
# Imported from it (devspace) by kpf-supervise --import.
forwards:
  default:
    selector: "release=devspace-default"
    ports: "3000:80"
    namespace: team
"""

PROCESS_COMPOSE = """version: "0.5"
processes:
  web:
    command: kubectl port-forward -n shop svc/web 8080:80
    availability: {restart: always}
  db:
    command: |
      # waits for the database
      kubectl -n data wait pod/db-0 --for=condition=ready
      kubectl -n data port-forward \\
        pod/db-0 5432
    disabled: true
  api:
    command: "npm run dev"
    depends_on: {db: {condition: process_started}}
"""
OF_PROCESS_COMPOSE = """\
# Imported from it (process-compose) by kpf-supervise --import.
forwards:
  web:
    target: svc/web
    ports: "8080:80"
    namespace: shop
  db:
    target: pod/db-0
    ports: 5432
    namespace: data
    enabled: false
"""

PACKAGE_JSON = """{
\t"name": "shop",
\t"scripts": {
\t\t"build": "tsc",
\t\t"forward": "concurrently 'kubectl port-forward svc/web 8080:80' 'kubectl port-forward svc/db 5432'"
\t}
}
"""
OF_PACKAGE_JSON = """\
# Imported from it (kubectl port-forward lines) by kpf-supervise --import.
forwards:
  forward:
    target: svc/web
    ports: "8080:80"
  forward-5432:
    target: svc/db
    ports: 5432
"""

PROCFILE = """web: kubectl port-forward -n shop svc/frontend 8080:80
cache: kubectl --context=dev port-forward -nshop svc/redis 6379
worker: python worker.py
"""
OF_PROCFILE = """\
# Imported from it (kubectl port-forward lines) by kpf-supervise --import.
forwards:
  web:
    target: svc/frontend
    ports: "8080:80"
    namespace: shop
  cache:
    target: svc/redis
    ports: 6379
    namespace: shop
    context: dev
"""

MAKEFILE = """NS ?= shop
.PHONY: forward
forward: deps ## everything that's needed
\t@kubectl port-forward -n $(NS) svc/web 8080:80 &
\t-$(KUBECTL) port-forward svc/db 5432:5432 >/dev/null 2>&1 &
"""
OF_MAKEFILE = """\
# Imported from it (kubectl port-forward lines) by kpf-supervise --import.
forwards:
  # line 4: not kept: what $(NS) stands for is not known. Write it there
  # web:
  #   target: svc/web
  #   ports: "8080:80"
  #   namespace: "$(NS)"
  db:
    target: svc/db
    ports: "5432:5432"
"""

EXAMPLES = {
    "kftray": (KFTRAY, OF_KFTRAY),
    "kubeport": (KUBEPORT, OF_KUBEPORT),
    "kubeport as TOML": (KUBEPORT_TOML, OF_KUBEPORT_TOML),
    "localport": (LOCALPORT, OF_LOCALPORT),
    "skaffold": (SKAFFOLD, OF_SKAFFOLD),
    "devspace": (DEVSPACE, OF_DEVSPACE),
    "devspace until v1beta11": (OLD_DEVSPACE, OF_OLD_DEVSPACE),
    "the first devspace": (OLDEST_DEVSPACE, OF_OLDEST_DEVSPACE),
    "process-compose": (PROCESS_COMPOSE, OF_PROCESS_COMPOSE),
    "package.json": (PACKAGE_JSON, OF_PACKAGE_JSON),
    "a Procfile": (PROCFILE, OF_PROCFILE),
    "a Makefile": (MAKEFILE, OF_MAKEFILE),
}
