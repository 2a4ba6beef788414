"""The rules of holding, retrying, suspecting and ending as histories that begin as those of the faults."""

from __future__ import annotations

RULES = {
    "a connection is held for 30 s": """
web-1 is deleted
    #1 retiring: another pod is to be used
    tell waiting: lost web-1, which is terminating
new connects
29.9 s pass
0.1 s pass
    new is let go: hold-over
""",
    "attempts are used up, and a client begins a new round": """
#1 ends: other
    open is cut off
    #1 ended: kubectl said that it no longer forwards, or ended
    tell reconnecting: attempt 1 of 3 now: kubectl ended: other (pod web-1)
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
#2 ends: other
    #2 ended: kubectl said that it no longer forwards, or ended
    tell reconnecting: attempt 2 of 3 in 1.0 s: kubectl ended: other (pod web-1)
1 s pass
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #3 on web-1
#3 ends: other
    #3 ended: kubectl said that it no longer forwards, or ended
    tell reconnecting: attempt 3 of 3 in 2.0 s: kubectl ended: other (pod web-1)
60 s pass
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #4 on web-1
#4 ends: other
    #4 ended: kubectl said that it no longer forwards, or ended
    tell failed: kubectl ended: other
60 s pass
new connects
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #5 on web-1
#5 is ready
    #5 serving
    tell active: localhost:80 → app=web, pod web-1:8080
    new gets #5
""",
    "a pod that refused connections is tested before it serves": """
#1 says remote-refused
    #1 retiring: kubectl said that it no longer forwards, or ended
    tell reconnecting: attempt 1 of 3 now: kubectl says remote-refused (pod web-1)
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1, test it first
1 s pass
#2 ends: remote-refused
    #2 ended: kubectl said that it no longer forwards, or ended
    tell reconnecting: attempt 2 of 3 in 1.0 s: kubectl ended: remote-refused (pod web-1)
1 s pass
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #3 on web-1, test it first
#3 is ready
    #3 serving
    tell active: localhost:80 → app=web, pod web-1:8080
""",
    "a pod that is not allowed fails at once, and what is held is closed": """
#1 ends: other
    open is cut off
    #1 ended: kubectl said that it no longer forwards, or ended
    tell reconnecting: attempt 1 of 3 now: kubectl ended: other (pod web-1)
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
new connects
#2 ends: forbidden
    #2 ended: kubectl said that it no longer forwards, or ended
    tell failed: kubectl ended: forbidden
    new is let go: failed
late connects
1 s pass
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #3 on web-1
""",
    "another pod ends a pause": """
#1 ends: other
    open is cut off
    #1 ended: kubectl said that it no longer forwards, or ended
    tell reconnecting: attempt 1 of 3 now: kubectl ended: other (pod web-1)
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
#2 ends: other
    #2 ended: kubectl said that it no longer forwards, or ended
    tell reconnecting: attempt 2 of 3 in 1.0 s: kubectl ended: other (pod web-1)
web-2 is ready
web-1 is deleted
    tell connecting: starting kubectl for pod/web-2, port 8080
    start #3 on web-2
#3 is ready
    #3 serving
    tell moved: web-1 is terminating → web-2:8080
""",
    "a start to a pod that goes is no failure": """
#1 ends: other
    open is cut off
    #1 ended: kubectl said that it no longer forwards, or ended
    tell reconnecting: attempt 1 of 3 now: kubectl ended: other (pod web-1)
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
web-2 is ready
web-1 is deleted
    #2 ended: another pod is to be used
    start #3 on web-2
#3 is ready
    #3 serving
    tell moved: web-1 is terminating → web-2:8080
""",
    "an answer that comes after all": """
#1 has not answered for 5 s
    #1 suspect: nothing has come back for 5 s, as from a dead tunnel
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
new connects
#1 answers
    #1 serving
    tell active: web-1:8080 answers after all
    #2 ended: it is not needed any more
    new gets #1
""",
    "an answer that comes too late": """
#1 has not answered for 5 s
    #1 suspect: nothing has come back for 5 s, as from a dead tunnel
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
#2 is ready
    #2 serving
    tell moved: nothing has come back for 5 s, as from a dead tunnel → a fresh kubectl on web-1:8080
    check #1
#1 answers
    #1 retiring: nothing has come back for 5 s, as from a dead tunnel
open leaves
    #1 ended: it has no connections left
""",
    "a suspect tunnel that answers the check keeps its connections": """
connections to the API server had died
    #1 suspect: connections to the API server had died
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
#2 is ready
    #2 serving
    tell moved: connections to the API server had died → a fresh kubectl on web-1:8080
    check #1
#1 answers the check
    #1 retiring: connections to the API server had died
open leaves
    #1 ended: it has no connections left
""",
    "a restart": """
new connects
    new gets #1
the user restarts it
    #1 ended: the user wants a fresh one
    open is cut off
    new is cut off
    tell connecting: restarted: looking for a pod of app=web
    start #2 on web-1
#2 is ready
    #2 serving
    tell active: localhost:80 → app=web, pod web-1:8080
""",
    "a restart in the moment in which kubectl is ready": """
the user restarts it
    #1 ended: the user wants a fresh one
    open is cut off
    tell connecting: restarted: looking for a pod of app=web
    start #2 on web-1
the user restarts it as #2 is ready
    #2 serving
    #2 ended: the user wants a fresh one
    tell connecting: restarted: looking for a pod of app=web
    start #3 on web-1
#3 is ready
    #3 serving
    tell active: localhost:80 → app=web, pod web-1:8080
""",
    "a pod that is gone takes its tunnel with it after 3 s": """
web-2 is ready
web-1 is gone
    #1 retiring: another pod is to be used
    tell connecting: starting kubectl for pod/web-2, port 8080
    start #2 on web-2
#2 is ready
    #2 serving
    tell moved: web-1 was deleted → web-2:8080
2.9 s pass
0.1 s pass
    #1 ended: its pod is gone
    open is cut off
""",
    "a pod whose kubectl says that it is gone": """
#1 says pod-gone
    #1 retiring: kubectl said that it no longer forwards, or ended
    tell reconnecting: attempt 1 of 3 now: kubectl says pod-gone (pod web-1)
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
new connects
open leaves
    #1 ended: it has no connections left
#2 is ready
    #2 serving
    tell active: localhost:80 → app=web, pod web-1:8080
    new gets #2
""",
    "a connection that outlives one death of the line may not outlive the next": """
connections to the API server had died
    #1 suspect: connections to the API server had died
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
#2 is ready
    #2 serving
    tell moved: connections to the API server had died → a fresh kubectl on web-1:8080
    check #1
#1 answers the check
    #1 retiring: connections to the API server had died
connections to the API server had died
    #2 suspect: connections to the API server had died
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #3 on web-1
    #1 suspect: connections to the API server had died
    #2 ended: it has no connections left
#3 is ready
    #3 serving
    tell moved: connections to the API server had died → a fresh kubectl on web-1:8080
    check #1
#1 does not answer the check
    #1 ended: the check found it dead
    open is cut off
""",
    "a tunnel that has lost its connection when the line dies": """
#1 says lost-connection
    #1 suspect: kubectl said that it no longer forwards, or ended
connections to the API server had died
0.2 s pass
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
    #1 retiring: kubectl said that it no longer forwards, or ended
    #1 suspect: connections to the API server had died
    #1 retiring: connections to the API server had died
#2 is ready
    #2 serving
    tell active: localhost:80 → app=web, pod web-1:8080
open leaves
    #1 ended: it has no connections left
""",
    "a check proves nothing while a client reads nothing": """
open reads nothing
connections to the API server had died
    #1 suspect: connections to the API server had died
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
#2 is ready
    #2 serving
    tell moved: connections to the API server had died → a fresh kubectl on web-1:8080
    check #1
#1 does not answer the check
    #1 retiring: connections to the API server had died
open leaves
    #1 ended: it has no connections left
""",
    "a connection that gives no answer": """
#1 says stalled
    #1 suspect: kubectl said that it no longer forwards, or ended
    tell reconnecting: attempt 1 of 3 now: kubectl says stalled (pod web-1)
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
new connects
#2 is ready
    #2 serving
    tell active: localhost:80 → app=web, pod web-1:8080
    check #1
    new gets #2
#1 does not answer the check
    #1 ended: the check found it dead
    open is cut off
""",
    "nothing comes from the API server, until tunnels can be replaced": """
nothing comes from the API server
    #1 suspect: nothing came from the API server any more
    tell reconnecting: as soon as the API server answers: the API server does not answer
new connects
20 s pass
the API server answers
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
#2 is ready
    #2 serving
    tell moved: nothing came from the API server any more → a fresh kubectl on web-1:8080
    check #1
    new gets #2
#1 answers the check
    #1 retiring: nothing came from the API server any more
open leaves
    #1 ended: it has no connections left
""",
    "nothing comes from the API server, until it answers that it refuses": """
nothing comes from the API server
    #1 suspect: nothing came from the API server any more
    tell reconnecting: as soon as the API server answers: the API server does not answer
new connects
the API server answers, and refuses
    #1 serving
    tell active: the API server answers again: the kubectl that it had serves on
    new gets #1
the API server answers
""",
    "nothing comes from the API server, and the only client leaves": """
open leaves
nothing comes from the API server
    #1 suspect: nothing came from the API server any more
    tell reconnecting: as soon as the API server answers: the API server does not answer
60 s pass
the API server answers, and refuses
    #1 serving
    tell active: the API server answers again: the kubectl that it had serves on
""",
    "nothing comes from the API server while a tunnel starts": """
web-2 is ready
web-1 is deleted
    #1 retiring: another pod is to be used
    tell connecting: starting kubectl for pod/web-2, port 8080
    start #2 on web-2
nothing comes from the API server
new connects
5 s pass
#2 ends: api-unreachable
    #2 ended: kubectl said that it no longer forwards, or ended
    tell reconnecting: as soon as the API server answers: kubectl ended: api-unreachable
the API server answers
    #1 suspect: connections to the API server had died
    tell connecting: starting kubectl for pod/web-2, port 8080
    start #3 on web-2
#3 is ready
    #3 serving
    tell moved: web-1 is terminating → web-2:8080
    check #1
    new gets #3
""",
}
