"""Each fault of the matrix as a history. Each begins with the client `open` on tunnel #1 to web-1, for 5 s."""

from __future__ import annotations

FAULTS = {
    "its pod is deleted": """
web-2 is ready
web-1 is deleted
    #1 retiring: another pod is to be used
    tell connecting: starting kubectl for pod/web-2, port 8080
    start #2 on web-2
new connects
#2 is ready
    #2 serving
    tell moved: web-1 is terminating → web-2:8080
    new gets #2
#1 ends: lost-connection
    open is cut off
    #1 ended: kubectl said that it no longer forwards, or ended
web-1 is gone
""",
    "a rollout": """
web-2 is ready
web-3 is ready
web-1 is deleted
    #1 retiring: another pod is to be used
    tell connecting: starting kubectl for pod/web-3, port 8080
    start #2 on web-3
#2 is ready
    #2 serving
    tell moved: web-1 is terminating → web-3:8080
web-1 is gone
3 s pass
    #1 ended: its pod is gone
    open is cut off
""",
    "the only pod of a stateful set is deleted": """
web-1 is deleted
    #1 retiring: another pod is to be used
    tell waiting: lost web-1, which is terminating
new connects
#1 ends: lost-connection
    open is cut off
    #1 ended: kubectl said that it no longer forwards, or ended
web-1 is gone
web-2 is ready
    tell connecting: starting kubectl for pod/web-2, port 8080
    start #2 on web-2
#2 is ready
    #2 serving
    tell moved: web-1 was deleted → web-2:8080
    new gets #2
""",
    "its container crashes": """
web-2 is ready
web-1's container has restarted
    #1 retiring: another pod is to be used
    tell connecting: starting kubectl for pod/web-2, port 8080
    start #2 on web-2
new connects
#2 is ready
    #2 serving
    tell moved: web-1 restarted → web-2:8080
    new gets #2
#1 ends: lost-connection
    open is cut off
    #1 ended: kubectl said that it no longer forwards, or ended
""",
    "its pod is not ready any more": """
web-1 is not ready
    #1 retiring: another pod is to be used
    tell waiting: lost web-1, which is not ready
new connects
web-2 is ready
    tell connecting: starting kubectl for pod/web-2, port 8080
    start #2 on web-2
#2 is ready
    #2 serving
    tell moved: web-1 is not ready → web-2:8080
    new gets #2
open leaves
    #1 ended: it has no connections left
""",
    "the next pod's tunnel is refused for a while": """
web-2 is ready
web-1 is not ready
    #1 retiring: another pod is to be used
    tell connecting: starting kubectl for pod/web-2, port 8080
    start #2 on web-2
new connects
#2 ends: upgrade-refused
    #2 ended: kubectl said that it no longer forwards, or ended
    tell reconnecting: attempt 1 of 3 in 0.5 s: kubectl ended: upgrade-refused (pod web-2)
1 s pass
    tell connecting: starting kubectl for pod/web-2, port 8080
    start #3 on web-2
    new gets #1
#3 ends: upgrade-refused
    #3 ended: kubectl said that it no longer forwards, or ended
    tell reconnecting: attempt 2 of 3 in 1.0 s: kubectl ended: upgrade-refused (pod web-2)
1 s pass
    tell connecting: starting kubectl for pod/web-2, port 8080
    start #4 on web-2
#4 is ready
    #4 serving
    tell moved: web-1 is not ready → web-2:8080
late connects
    late gets #4
""",
    "kubectl is killed": """
#1 ends: other
    open is cut off
    #1 ended: kubectl said that it no longer forwards, or ended
    tell reconnecting: attempt 1 of 3 now: kubectl ended: other (pod web-1)
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
new connects
#2 is ready
    #2 serving
    tell active: localhost:80 → app=web, pod web-1:8080
    new gets #2
""",
    "kubelet or API server drop the tunnel": """
#1 says lost-connection
    #1 suspect: kubectl said that it no longer forwards, or ended
new connects
#1 ends: lost-connection
    open is cut off
    tell reconnecting: attempt 1 of 3 now: kubectl ended: lost-connection (pod web-1)
    #1 ended: kubectl said that it no longer forwards, or ended
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
#2 is ready
    #2 serving
    tell active: localhost:80 → app=web, pod web-1:8080
    new gets #2
""",
    "the pod resets one connection (kubectl from 1.27 on ends)": """
#1 ends: connection-broken
    open is cut off
    #1 ended: kubectl said that it no longer forwards, or ended
    tell reconnecting: attempt 1 of 3 now: kubectl ended: connection-broken (pod web-1)
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
new connects
#2 is ready
    #2 serving
    tell active: localhost:80 → app=web, pod web-1:8080
    new gets #2
""",
    "a client breaks a download off (kubectl before 1.32 may hang)": """
a client of #1 breaks a download off
    #1 retiring: a client broke a download off, which wedges kubectl before 1.32
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
new connects
#2 is ready
    #2 serving
    tell moved: a client broke a download off, which wedges kubectl before 1.32 → a fresh kubectl on web-1:8080
    new gets #2
open leaves
    #1 ended: it has no connections left
""",
    "a client reads nothing (its kubectl stalls)": """
open reads nothing
1 s pass
new connects
    #1 retiring: a client reads nothing, which stalls all connections of its kubectl
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
#2 is ready
    #2 serving
    tell moved: a client reads nothing, which stalls all connections of its kubectl → a fresh kubectl on web-1:8080
    new gets #2
open leaves
    #1 ended: it has no connections left
""",
    "the tunnel dies without an end": """
#1 has not answered for 5 s
    #1 suspect: nothing has come back for 5 s, as from a dead tunnel
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
new connects
#2 is ready
    #2 serving
    tell moved: nothing has come back for 5 s, as from a dead tunnel → a fresh kubectl on web-1:8080
    check #1
    new gets #2
#1 does not answer the check
    #1 ended: the check found it dead
    open is cut off
""",
    "all connections die without an end (sleep, VPN)": """
nothing comes from the API server
    #1 suspect: nothing came from the API server any more
    tell reconnecting: as soon as the API server answers: the API server does not answer
new connects
the API server answers
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
#2 is ready
    #2 serving
    tell moved: nothing came from the API server any more → a fresh kubectl on web-1:8080
    check #1
    new gets #2
#1 does not answer the check
    #1 ended: the check found it dead
    open is cut off
""",
    "all connections die while a tunnel is retiring": """
web-2 is ready
web-1 is not ready
    #1 retiring: another pod is to be used
    tell connecting: starting kubectl for pod/web-2, port 8080
    start #2 on web-2
#2 is ready
    #2 serving
    tell moved: web-1 is not ready → web-2:8080
nothing comes from the API server
    #2 suspect: nothing came from the API server any more
    tell reconnecting: as soon as the API server answers: the API server does not answer
the API server answers
    #1 suspect: connections to the API server had died
    #2 ended: it has no connections left
    tell connecting: starting kubectl for pod/web-2, port 8080
    start #3 on web-2
#3 is ready
    #3 serving
    tell moved: nothing came from the API server any more → a fresh kubectl on web-2:8080
    check #1
#1 does not answer the check
    #1 ended: the check found it dead
    open is cut off
""",
    "the API server is gone, and comes back": """
the API server is gone, which the watch has not noticed
#1 ends: lost-connection
    open is cut off
    #1 ended: kubectl said that it no longer forwards, or ended
    tell reconnecting: attempt 1 of 3 now: kubectl ended: lost-connection (pod web-1)
    tell reconnecting: as soon as the API server answers: the API server does not answer
new connects
the API server answers
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
#2 is ready
    #2 serving
    tell active: localhost:80 → app=web, pod web-1:8080
    new gets #2
""",
    "the API server stops in order, and comes back": """
the API server is gone
new connects
    new gets #1
the API server answers
""",
    "the API server answers 5xx for a while": """
the API server is gone
new connects
    new gets #1
the API server answers
""",
    "your login expires for a while (401)": """
the API server is gone
new connects
    new gets #1
the API server answers
""",
    "the API server freezes for a moment": """
5 s pass
new connects
    new gets #1
""",
    "the watch ends in order": """
new connects
    new gets #1
""",
    "the watch is cut": """
new connects
    new gets #1
the pods are listed again
""",
    "the watch is too old (410)": """
the pods are listed again
new connects
    new gets #1
""",
    "the kubectl that reads is killed": """
the pods are listed again
new connects
    new gets #1
""",
    "the keeper is killed": """
connections to the API server had died
    #1 suspect: connections to the API server had died
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
new connects
#2 is ready
    #2 serving
    tell moved: connections to the API server had died → a fresh kubectl on web-1:8080
    check #1
    new gets #2
#1 answers the check
    #1 retiring: connections to the API server had died
""",
}
